"""The canonical face: the 128×128 picture in which all motion is measured.

A similarity transform brings the outer eye corners to fixed places, so that one canonical pixel
is 1/64 of the inter-ocular distance on every face, at every distance from the camera.
"""

FACE_SIZE = 128
"""Side of the canonical face in pixels."""

INTER_OCULAR_PX = 64.0
"""Distance between the outer eye corners in the canonical face, in pixels."""

RIGHT_EYE_OUTER = (32.0, 46.0)
"""The subject's right outer eye corner, (x, y); on the left side of the picture."""

LEFT_EYE_OUTER = (96.0, 46.0)
"""The subject's left outer eye corner, (x, y)."""

REGION_NAMES = (
    "right_brow_inner",
    "right_brow_outer",
    "left_brow_inner",
    "left_brow_outer",
    "right_eyelid",
    "left_eyelid",
    "right_cheek",
    "left_cheek",
    "right_nose_wing",
    "left_nose_wing",
    "upper_lip",
    "lower_lip",
    "right_mouth_corner",
    "left_mouth_corner",
    "chin",
)
"""Regions whose motion is measured, in the order of every (R, 2) array; sides are the subject's."""

"""Which of Face Mesh's 468 landmarks mean what. Sides are the subject's."""

RIGHT_EYE_OUTER = 33
LEFT_EYE_OUTER = 263

FOREHEAD = 10
CHIN = 152

STABLE = (
    # nose bridge
    *(168, 6, 197, 195, 122, 351, 193, 417, 188, 412),
    # inner and outer eye corners
    *(133, 362, 33, 263, 243, 463, 130, 359),
    # beside the eyes and the temples
    *(143, 372, 35, 265, 34, 264, 127, 356, 234, 454, 139, 368, 162, 389),
)
"""Points of the skull rather than of the facial muscles; they carry the head's motion.

None on the forehead: it goes up with the brows.
"""

OUTLINE = (
    # face oval
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    # eyes
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    # brows
    *(46, 53, 52, 65, 55, 70, 63, 105, 66, 107),
    *(276, 283, 282, 295, 285, 300, 293, 334, 296, 336),
    # nose
    *(168, 6, 197, 195, 5, 4, 1, 98, 97, 2, 326, 327),
    # lips
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
"""Landmarks that draw a recognisable face; what the dashboard shows."""

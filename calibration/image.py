"""Step 3, image: exposure, focus, noise, size and attitude of the face."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from calibration.result import Finding, Result
from calibration.tracks import FaceTrack, Floats, Looks
from engines.motion.canonical import INTER_OCULAR_PX

STEP = "image"
MIN_FACE_PX = 200.0
"""A lower face shows weak movements by too small a part of a pixel."""

_GOOD_MEAN = (90.0, 170.0)
_USABLE_MEAN = (40.0, 215.0)
_BLACK, _WHITE = 3, 252
_CLIPPED_WARNING = 0.01
_CLIPPED_FAILURE = 0.10
_PREBLUR, _REBLUR = 1.0, 1.5
_EDGE_SHARE = 0.02
_EDGE_SNR = 8.0
_BLUR_WARNING = 1.6
_BLUR_FAILURE = 4.0
_LAPLACIAN_GAIN = 20.0  # noise variance times this is the noise's part in the Laplacian's variance
_SNR_WARNING = 25.0
_TURN_WARNING_DEG = 15.0
_MOTION_WARNING = 1.0
_FLAGS = {
    "several_faces": "Let one face only be in the picture.",
    "out_of_picture": "Move the camera or the chair until the whole face is in the picture.",
    "rotated": "Let the subject face the camera.",
    "mesh_late": "Close other programs or take a faster computer: landmarks come late.",
}


class ImageResult(Result):
    """The picture of the face.

    Grey levels are 0…255. "Canonical pixels" are 1/64 of the inter-ocular distance, the
    resolution in which motion is measured.

    Attributes:
        mean: Mean grey level of the face.
        dark_share: Share of the face's pixels that are black in some colour channel.
        bright_share: Share that are saturated in some colour channel.
        focus: Variance of the Laplacian without the noise's part, over the variance of the
            picture. Comparable between pictures of the same face at the same size only.
        blur_px: Width (sigma) of the strongest edges in picture pixels.
        blur_canonical: The same in canonical pixels.
        noise: Temporal noise of the gray picture: standard deviation in grey levels.
        snr: `mean` over `noise`.
        face_height_px: Forehead to chin in picture pixels.
        inter_ocular_px: Distance of the outer eye corners in picture pixels.
        pose_deg: Median nod, turn and tilt of the head in degrees.
        motion_blur_px: How far the quickest of the head's ordinary movements (95th percentile)
            goes within one frame, in picture pixels: the motion blur at the longest exposure.
        flags: Flags of alignment to the share of frames that have them.
    """

    mean: float
    dark_share: float
    bright_share: float
    focus: float
    blur_px: float
    blur_canonical: float
    noise: float
    snr: float
    face_height_px: float
    inter_ocular_px: float
    pose_deg: tuple[float, float, float]
    motion_blur_px: float
    flags: dict[str, float]


def measure(face: FaceTrack, looks: Looks | None, fps: float) -> ImageResult | None:
    """Measure the picture of the face.

    Args:
        face: The face over the take.
        looks: Pictures of it.
        fps: Frame rate.

    Returns:
        The result; None when there was no face.
    """
    if looks is None or not len(looks) or not len(face):
        return None
    crops = [_face_of(pair, box) for pair, box in zip(looks.pairs, looks.boxes, strict=True)]
    gray = [_gray(crop) for crop in crops]
    noise = float(np.median([noise_of(*pair) for pair in gray]))
    first = [pair[0] for pair in gray]
    blur = float(np.median([blur_of(picture, noise) for picture in first]))
    span = float(np.median(looks.inter_ocular_px))
    mean = float(np.mean([picture.mean() for picture in first]))
    speed = float(np.percentile(face.head_speed, 95))
    pose = np.degrees(np.nanmedian(face.pose, axis=0))
    return ImageResult(
        mean=mean,
        dark_share=float(np.mean([_share(crop[0] <= _BLACK) for crop in crops])),
        bright_share=float(np.mean([_share(crop[0] >= _WHITE) for crop in crops])),
        focus=float(np.median([_focus(picture, noise) for picture in first])),
        blur_px=blur,
        blur_canonical=blur * INTER_OCULAR_PX / span,
        noise=noise,
        snr=mean / max(noise, 0.1),
        face_height_px=float(np.median(face.height_px)),
        inter_ocular_px=span,
        pose_deg=(float(pose[0]), float(pose[1]), float(pose[2])),
        motion_blur_px=speed * span / fps,
        flags={name: count / len(face) for name, count in face.flags.items()},
    )


def noise_of(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> float:
    """Temporal noise of two successive pictures, in grey levels.

    Only the flattest half of the picture is compared, where small motion changes nothing, and the
    difference of brightness is taken out. Robust: a blink is a minority.

    Args:
        before: (h, w) gray picture.
        after: (h, w) gray picture of the next frame.
    """
    smooth = cv2.GaussianBlur(before.astype(np.float32), (0, 0), 2.0)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    flat = gradient <= np.median(gradient)
    gain = float(before.mean()) / max(float(after.mean()), 1.0)
    change = after[flat].astype(np.float32) * np.float32(gain) - before[flat]
    # Squares, not the median absolute deviation: grey levels are whole numbers, and its steps are
    # as large as the noise itself. What lies far out is not noise.
    change -= np.median(change)
    kept = np.abs(change) <= max(3.0, 4.0 * float(np.percentile(np.abs(change), 68)))
    return float(np.sqrt(np.mean(np.square(change[kept])) / 2))


def blur_of(picture: npt.NDArray[np.uint8], noise: float) -> float:
    """Width (sigma, in pixels) of the strongest edges of a picture.

    A step edge that was blurred by s and is blurred again by r has a gradient sqrt(1 + r²/s²) times
    weaker, which gives s (Zhuo and Sim, "Defocus map estimation from a single image", Pattern
    Recognition 44, 2011). The median of the strongest edges is returned: lashes and irises, as
    wide in focus as about a hundredth of the inter-ocular distance.

    Args:
        picture: (h, w) gray picture.
        noise: Its noise in grey levels.

    Returns:
        The width; infinite when no edge stands out of the noise.
    """
    # A first light blur keeps noise out of the gradients; it is taken out of the result.
    values = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _PREBLUR)
    sharp = _gradient(values)
    soft = _gradient(cv2.GaussianBlur(values, (0, 0), _REBLUR))
    strong = sharp >= max(float(np.quantile(sharp, 1 - _EDGE_SHARE)), _EDGE_SNR * 0.3 * noise)
    strong[:4], strong[-4:], strong[:, :4], strong[:, -4:] = False, False, False, False
    if not strong.any():
        return math.inf
    ratio = np.maximum(sharp[strong] / np.maximum(soft[strong], 1e-6), 1.0 + 1e-6)
    width = _REBLUR / np.sqrt(np.square(ratio) - 1)
    return math.sqrt(max(float(np.median(width)) ** 2 - _PREBLUR**2, 0.0))


def _gradient(values: cv2.typing.MatLike) -> npt.NDArray[np.float32]:
    along = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(np.hypot(along, down), np.float32)


def _focus(picture: npt.NDArray[np.uint8], noise: float) -> float:
    values = picture.astype(np.float32)
    edges = float(cv2.Laplacian(values, cv2.CV_32F).var()) - _LAPLACIAN_GAIN * noise**2
    return max(edges, 0.0) / max(float(values.var()) - noise**2, 1e-6)


def _share(clipped: npt.NDArray[np.bool_]) -> float:
    """Share of the pixels of which any channel is clipped."""
    return float((clipped.any(axis=-1) if clipped.ndim == 3 else clipped).mean())


def _face_of(pair: npt.NDArray[np.uint8], box: Floats) -> npt.NDArray[np.uint8]:
    """The middle of the face's box in both pictures, without hair and background."""
    x, y, width, height = box
    left, right = max(0, round(x + 0.1 * width)), round(x + 0.9 * width)
    top, bottom = max(0, round(y + 0.1 * height)), round(y + 0.95 * height)
    return pair[:, top:bottom, left:right]


def _gray(pair: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    if pair.ndim == 3:
        return pair[0], pair[1]
    before, after = (
        np.asarray(cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_BGR2GRAY), np.uint8)
        for p in pair
    )
    return before, after


def findings(result: ImageResult | None) -> tuple[Finding, ...]:
    """What the operator must know of the picture."""
    if result is None:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what="No face was followed.",
                advice="Put one face into the picture, upright and lit from the front.",
            ),
        )
    found: list[Finding] = []

    def tell(*, failure: bool, what: str, advice: str) -> None:
        found.append(
            Finding(
                step=STEP,
                severity="failure" if failure else "warning",
                what=what,
                advice=advice,
            )
        )

    _tell_exposure(result, tell)
    if result.blur_canonical > _BLUR_WARNING:
        tell(
            failure=result.blur_canonical > _BLUR_FAILURE,
            what=f"The strongest edges are {result.blur_px:.1f} pixels wide: out of focus.",
            advice="Focus on the eyes with the aperture open, then close it; lock the focus.",
        )
    if result.snr < _SNR_WARNING:
        tell(
            failure=False,
            what=f"The picture is noisy: {result.noise:.1f} grey levels at a mean of "
            f"{result.mean:.0f}.",
            advice="Add light and lower the gain.",
        )
    if result.face_height_px < MIN_FACE_PX:
        tell(
            failure=False,
            what=f"The face is {result.face_height_px:.0f} pixels tall.",
            advice=f"Move the camera nearer or use a longer lens: {MIN_FACE_PX:.0f} pixels and "
            "more from forehead to chin.",
        )
    nod, turn, _ = result.pose_deg
    if max(abs(nod), abs(turn)) > _TURN_WARNING_DEG:
        tell(
            failure=False,
            what=f"The head is nodded by {nod:.0f} and turned by {turn:.0f} degrees.",
            advice="Put the camera at the height of the eyes, straight in front.",
        )
    if result.motion_blur_px > _MOTION_WARNING:
        tell(
            failure=False,
            what=f"Ordinary head movement goes {result.motion_blur_px:.1f} pixels within a frame "
            "and is blurred unless the exposure is much shorter.",
            advice="Shorten the exposure, raise the frame rate, or use a head rest.",
        )
    for flag, advice in _FLAGS.items():
        if result.flags.get(flag, 0.0) > 0.05:
            tell(
                failure=False,
                what=f"{100 * result.flags[flag]:.0f} % of the frames are flagged "
                f"{flag.replace('_', ' ')}.",
                advice=advice,
            )
    return tuple(found)


class _Tell(Protocol):
    def __call__(self, *, failure: bool, what: str, advice: str) -> None: ...


def _tell_exposure(result: ImageResult, tell: _Tell) -> None:
    low, high = _USABLE_MEAN
    if not _GOOD_MEAN[0] <= result.mean <= _GOOD_MEAN[1]:
        dark = result.mean < _GOOD_MEAN[0]
        tell(
            failure=not low <= result.mean <= high,
            what=f"The face is {'under' if dark else 'over'}-exposed: mean grey level "
            f"{result.mean:.0f} of 255.",
            advice=("Add light or open the aperture" if dark else "Take light away")
            + f"; {_GOOD_MEAN[0]:.0f} to {_GOOD_MEAN[1]:.0f} is good.",
        )
    for share, name in ((result.dark_share, "black"), (result.bright_share, "saturated")):
        if share > _CLIPPED_WARNING:
            tell(
                failure=share > _CLIPPED_FAILURE,
                what=f"{100 * share:.0f} % of the face is {name}: no movement is seen there.",
                advice="Light the face evenly from the front, with a soft lamp.",
            )

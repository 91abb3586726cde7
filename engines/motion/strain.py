"""Optical strain: how much the skin is deformed, whatever the head does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def optical_strain(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Magnitude of the infinitesimal strain tensor of a flow field.

    A rigid shift of the face has no strain, so the map keeps only what deforms. The norm is that
    of Shreve et al., "Macro- and micro-expression spotting in long videos using spatio-temporal
    strain" (FG 2011): sqrt(e_xx² + e_yy² + ½ (∂u/∂y + ∂v/∂x)²).

    Args:
        flow: (H, W, 2) displacement in pixels, x to the right and y down; H and W at least 2.

    Returns:
        (H, W) float32, without unit (pixels per pixel).
    """
    u_y, u_x = np.gradient(flow[..., 0])
    v_y, v_x = np.gradient(flow[..., 1])
    shear = u_y + v_x
    strain: npt.NDArray[np.float32] = np.sqrt(u_x**2 + v_y**2 + 0.5 * shear**2, dtype=np.float32)
    return strain

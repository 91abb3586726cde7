"""The grid of stream time on which clip features lie.

I3D features of published spotters stand for chunks of 8 frames, 2 frames apart, of video at about
30 frames a second (Yu et al., "LGSNet: a two-stream network for micro- and macro-expression
spotting with background modeling", TAFFC 2023; 200 fps recordings are thinned out to 30). Here the
same spans are fixed in time, so that every camera gives the same features.
"""

TICK_S = 1 / 30
"""Time between two pictures of a chunk, in seconds."""

CHUNK_TICKS = 8
"""Pictures of a chunk."""

STEP_TICKS = 2
"""Pictures from one chunk to the next."""

STEP_S = STEP_TICKS * TICK_S
"""Time from one chunk to the next, in seconds."""

CHUNK_S = CHUNK_TICKS * TICK_S
"""Time that a chunk spans, in seconds."""

MAX_GAP_S = 0.2
"""Longer without a frame, and what follows is another stretch of the stream."""

"""The page: live picture, controls and figures, timeline, detections."""

from __future__ import annotations

import contextlib
from typing import Any

import gradio as gr

from streamer.dashboard.control import SessionControl
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.views import Views, asset

_FONTS = ("system-ui", "sans-serif")  # of the viewer's system: nothing is fetched
_FACTOR_RANGE = (1.0, 20.0)


def build_page(
    control: SessionControl, sink: DashboardSink, stream_path: str, refresh_s: float
) -> gr.Blocks:
    """Build the page.

    A tick reads a snapshot and returns four bounded strings; a hidden page stops ticking.

    Args:
        control: Starts, stops and describes the session.
        sink: Remembers what is shown.
        stream_path: Where the live picture is.
        refresh_s: Interval of the ticks, in seconds.
    """
    views = Views()

    def refresh() -> tuple[Any, ...]:
        panels = views.panels(control, sink.snapshot())
        running = control.running
        return (
            panels.status,
            panels.figures,
            panels.timeline,
            panels.detections,
            gr.Button(interactive=not running),
            gr.Button(interactive=running),
        )

    def start() -> tuple[Any, ...]:
        with contextlib.suppress(Exception):  # the refreshed page shows `control.error`
            control.start()
        return refresh()

    def stop() -> tuple[Any, ...]:
        control.stop()
        return refresh()

    def known_factor() -> Any:
        factor = control.threshold_factor
        return gr.skip() if factor is None else factor

    with gr.Blocks(title="Glint", analytics_enabled=False, fill_width=True) as page:
        status = _html("glint-status")
        with gr.Row(elem_id="glint-main"):
            with gr.Column(scale=6, min_width=320):
                gr.HTML(
                    views.picture(stream_path),
                    js_on_load=asset("picture.js"),
                    padding=False,
                    elem_id="glint-picture",
                )
            with gr.Column(scale=5, min_width=320):
                with gr.Row(elem_id="glint-buttons"):
                    start_button = gr.Button("Start", variant="primary", elem_id="glint-start")
                    stop_button = gr.Button("Stop", interactive=False, elem_id="glint-stop")
                factor = gr.Slider(
                    *_FACTOR_RANGE,
                    value=_FACTOR_RANGE[0],
                    step=0.1,
                    label="Detection threshold (factor c)",
                    info="Higher: fewer detections, fewer false alarms.",
                    elem_id="glint-factor",
                    buttons=[],
                )
                figures = _html("glint-figures")
        timeline = _html("glint-timeline")
        detections = _html("glint-detections")
        timer = gr.Timer(refresh_s)

        shown = [status, figures, timeline, detections, start_button, stop_button]
        # `queue=False`: a tick is one short request, waits for no other and leaves nothing behind.
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "queue": False,
            "api_visibility": "private",
        }
        page.load(refresh, None, shown, **quiet)
        page.load(known_factor, None, factor, **quiet)
        timer.tick(refresh, None, shown, **quiet)
        start_button.click(start, None, shown, **quiet)
        stop_button.click(stop, None, shown, **quiet)
        factor.input(
            control.set_threshold_factor, factor, None, trigger_mode="always_last", **quiet
        )
    return page


def page_options() -> dict[str, Any]:
    """Return what Gradio takes when the page is mounted."""
    return {
        "theme": gr.themes.Base(
            primary_hue="teal",
            neutral_hue="slate",
            font=_FONTS,
            font_mono=("ui-monospace", "monospace"),
        ),
        "css": asset("dashboard.css"),
        "footer_links": [],
        "run_history": False,  # it would keep every tick in the viewer's browser
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "max_file_size": 1,  # nothing is ever uploaded
        "show_error": False,
    }


def _html(name: str) -> gr.HTML:
    return gr.HTML(padding=False, elem_id=name)

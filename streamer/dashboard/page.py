"""The page: Gradio holds the controls, the script `live.js` fills everything that moves."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS
from engines.spotting.registry import DEPTH_SPOTTERS, SPOTTERS
from streamer.consent import VERSION, consent_text
from streamer.dashboard.control import SessionControl
from streamer.dashboard.desk import NO_RECOGNIZER, Choices, SessionDesk
from streamer.dashboard.overlay import MAGNIFICATION
from streamer.dashboard.views import asset
from streamer.errors import UserError

_FONTS = ("system-ui", "sans-serif")  # of the viewer's system: nothing is fetched
_IDLE_S = 1.0
_FACTOR_RANGE = (1.0, 40.0)

_Refresh = Callable[[Callable[..., Any]], Any]
"""Brings a control up to date at an event of the page."""

# `queue=False`: one short request, which waits for no other and leaves nothing behind.
_QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "queue": False,
    "api_visibility": "private",
}


def build_page(
    control: SessionControl, desk: SessionDesk[Any] | None, stream_path: str
) -> gr.Blocks:
    """Build the page.

    Args:
        control: Starts, stops and describes the session.
        desk: Takes the operator's choices for the next session; None offers none.
        stream_path: Where the live picture is.
    """
    with gr.Blocks(title="Glint", analytics_enabled=False, fill_width=True) as page:
        _filled("status")
        with gr.Row(elem_id="glint-main"):
            with gr.Column(scale=6, min_width=320):
                _filled("picture", f", {stream_path.lstrip('/')!r}, {MAGNIFICATION:g}")
            with gr.Column(scale=5, min_width=320):
                with gr.Row(elem_id="glint-buttons"):
                    start = gr.Button("Start", variant="primary", elem_id="glint-start")
                    stop = gr.Button("Stop", elem_id="glint-stop")
                    demo = gr.Button("Play the demo", elem_id="glint-demo", visible=bool(desk))
                message = gr.HTML(padding=False, elem_id="glint-message")
                _filled("marks")
                with gr.Tabs(elem_id="glint-tabs"):
                    with gr.Tab("Instruments"):
                        _filled("instruments")
                    with gr.Tab("Setup", render_children=True):
                        factor, moved = _factor(control)
                        if desk is None:
                            shown = _factor_only(control, factor)
                            shown(page.load)
                            moments = [start.click(_starter(control), None, message, **_QUIET)]
                        else:
                            shown = _budget(control, desk, factor, moved, message)
                            moments = _setup(page, control, desk, start, demo, message)
                _filled("engines")
        _filled("timeline")
        _filled("detections")
        stop.click(control.stop, None, None, **_QUIET)
        for moment in moments:
            shown(moment.then)
    # Nothing here waits in Gradio's queue, which asks a thousand times a second whether something
    # does; each time the threads of the pipeline wait for the interpreter.
    queue = page._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = _IDLE_S
    return page


def page_options() -> dict[str, Any]:
    """Return what Gradio takes when the page is mounted."""
    scripts = "".join(f"<script>{asset(name)}</script>" for name in ("timeline.js", "live.js"))
    return {
        "theme": gr.themes.Base(
            primary_hue="teal",
            neutral_hue="slate",
            font=_FONTS,
            font_mono=("ui-monospace", "monospace"),
        ),
        "css": asset("dashboard.css"),
        "head": scripts,
        "footer_links": [],
        "run_history": False,  # it would keep every request in the viewer's browser
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "max_file_size": 1,  # nothing is ever uploaded
        "show_error": False,
    }


def _filled(name: str, more: str = "") -> None:
    """A place that the script fills."""
    gr.HTML(
        "<div></div>",
        js_on_load=f"GlintLive.{name}(element{more});",
        apply_default_css=False,
        padding=False,
        elem_id=f"glint-{name}",
    )


def _factor(control: SessionControl) -> tuple[gr.Slider, Any]:
    """The threshold by hand; returns it, and what happens when somebody moves it."""
    factor = gr.Slider(
        *_FACTOR_RANGE,
        value=_FACTOR_RANGE[0],
        step=0.1,
        label="Detection threshold (factor c)",
        info="Higher: fewer detections, fewer false alarms. Takes effect at once.",
        elem_id="glint-factor",
        buttons=[],
    )
    return factor, factor.input(
        control.set_threshold_factor, factor, None, trigger_mode="always_last", **_QUIET
    )


def _factor_only(control: SessionControl, factor: gr.Slider) -> _Refresh:
    """Return what brings the slider up to date at an event of the page."""
    return lambda when: when(lambda: control.threshold_factor or gr.skip(), None, factor, **_QUIET)


def _budget(
    control: SessionControl,
    desk: SessionDesk[Any],
    factor: gr.Slider,
    moved: Any,
    message: gr.HTML,
) -> _Refresh:
    """The threshold by the false alarms that are accepted; returns as `_factor_only` does."""
    accepted = gr.Dropdown(
        [],
        label="or: false alarms that you accept, a minute",
        info=" ",
        interactive=False,
        elem_id="glint-budget",
    )

    def known() -> gr.Dropdown:
        budget = desk.alarm_budget
        if isinstance(budget, str):
            return gr.Dropdown([], value=None, info=budget, interactive=False)
        kept = budget.of(control.threshold_factor)
        info = (
            "Set by hand: how often this factor is wrong is not known. Choose a rate, and the "
            "calibration sets the factor."
            if kept is None
            else f"Factor {kept.factor:g} keeps it on average, by {budget.fitted_s:.0f} s of "
            f"neutral footage; more could lead to {kept.low:.1f} to {kept.high:.1f} (90 %)."
        )
        rates = [(f"{rate:g}", rate) for rate in budget.rates]
        chosen = None if kept is None else kept.per_min
        return gr.Dropdown(rates, value=chosen, info=info, interactive=True)

    def both() -> Any:
        return control.threshold_factor or gr.skip(), known()

    def keep(rate: float) -> str:
        budget = desk.alarm_budget
        if isinstance(budget, str):
            return _sentence(budget)
        return _told(lambda: control.set_threshold_factor(budget.at(rate).factor))

    chosen = accepted.input(keep, accepted, message, **_QUIET)
    chosen.then(both, None, [factor, accepted], **_QUIET)
    moved.then(known, None, accepted, **_QUIET)
    return lambda when: when(both, None, [factor, accepted], **_QUIET)


def _setup(
    page: gr.Blocks,
    control: SessionControl,
    desk: SessionDesk[Any],
    start: gr.Button,
    demo: gr.Button,
    message: gr.HTML,
) -> list[Any]:
    """The choices for the next session; returns when they are shown and when one begins."""
    with gr.Row(elem_id="glint-source-row"):
        source = gr.Dropdown(
            _sources(desk), value=desk.config.source.spec, label="Source", elem_id="glint-source"
        )
        look = gr.Button("Look for cameras", elem_id="glint-look", size="sm", min_width=90)
    with gr.Row():
        spotter = gr.Dropdown([*SPOTTERS, *DEPTH_SPOTTERS], label="Spotting", min_width=120)
        recognizer = gr.Dropdown(
            [*RECOGNIZERS, *DEPTH_RECOGNIZERS, NO_RECOGNIZER], label="Recognition", min_width=120
        )
    store, record, subject, consented, confirmed_by, store_now = _consent(desk)
    gr.HTML(
        "<p>The neutral face is learned all the time, from the last second and while nothing "
        "moves. Let the subject rest for some seconds after the start. If it was caught in an "
        "expression, press <i>Neutral face</i> (Z) while it rests.</p>",
        padding=False,
        elem_id="glint-neutral",
    )
    consenting = gr.State("")  # the subject for whom the consent was ticked

    def known() -> tuple[Any, ...]:
        config = desk.config
        consent, code = config.consent, config.subject or ""
        return (
            gr.Dropdown(choices=_sources(desk), value=config.source.spec),
            config.spotter,
            config.recognizer,
            code,
            desk.store,
            desk.can_store and config.recording.enabled,
            consent is not None,
            "" if consent is None else consent.confirmed_by,
            code,
        )

    def choices_of(
        source: str,
        spotter: str,
        recognizer: str,
        subject: str,
        store: bool,
        record: bool,
        consented: bool,
        name: str,
        whose: str,
    ) -> Choices:
        confirmed_by = name if consented and whose == subject else ""
        return Choices(source, spotter, recognizer, subject, store, record, confirmed_by)

    def begin(*given: Any) -> str:
        return choose(lambda: desk.choose(choices_of(*given))) or _starter(control)()

    def keep(*given: Any) -> str:
        stored: list[object] = []
        said = choose(lambda: stored.append(desk.store_now(choices_of(*given))))
        if said or stored[0] is not None:
            return said
        control.stop()
        return _starter(control)()

    def play() -> str:
        if control.running and desk.storing:
            return _sentence("A session is being stored: stop it before you play the demo.")
        control.stop()
        return choose(desk.choose_demo) or _starter(control)()

    def choose(work: Callable[[], object]) -> str:
        before = desk.config
        said = _told(work)
        after = desk.config
        if (before.spotter, before.calibration) != (after.spotter, after.calibration):
            control.forget_threshold_factor()  # it means nothing to another engine or rig
        return said

    def find() -> Any:
        desk.look_for_sources()
        return gr.Dropdown(choices=_sources(desk)), _sentence(" ".join(desk.notes))

    asked = [source, spotter, recognizer, subject, store, record, consented, confirmed_by]
    loaded = page.load(known, None, [*asked, consenting], **_QUIET)
    begins = [
        start.click(begin, [*asked, consenting], message, **_QUIET),
        store_now.click(keep, [*asked, consenting], message, **_QUIET),
        demo.click(play, None, message, **_QUIET),
    ]
    for begun in begins:  # what is stored now may have been an order of `store_now`
        begun.then(lambda: desk.store, None, store, **_QUIET)
    waiting: dict[str, Any] = {**_QUIET, "show_progress": "minimal", "show_progress_on": look}
    look.click(find, None, [source, message], **waiting)
    # Another subject has not consented yet.
    subject.input(lambda: False, None, consented, **_QUIET)
    consented.input(lambda code: code, subject, consenting, **_QUIET)
    return [loaded, *begins]


def _consent(
    desk: SessionDesk[Any],
) -> tuple[gr.Checkbox, gr.Checkbox, gr.Textbox, gr.Checkbox, gr.Textbox, gr.Button]:
    """What is stored of whom, and under whose word."""
    form = desk.config.consent_form
    with gr.Group(elem_id="glint-consent"):
        store = gr.Checkbox(
            label="Store this session (numbers, detections, notes)",
            info=None if desk.can_store else "Start Glint with --session DIR to store sessions.",
            interactive=desk.can_store,
            elem_id="glint-store",
        )
        record = gr.Checkbox(
            label="Record the pictures too, without loss",
            interactive=desk.can_store,
            elem_id="glint-record",
        )
        subject = gr.Textbox(
            label="Subject's code",
            info="A pseudonym, never a name: letters, digits, _, . and -",
            max_length=64,
            elem_id="glint-subject",
        )
        if form is None:
            with gr.Accordion(f"Consent: read the text (version {VERSION})", open=False):
                gr.Markdown(consent_text())
        signed = "has read this text and consents" if form is None else f"has signed {form}"
        consented = gr.Checkbox(label=f"The subject {signed}", elem_id="glint-consented")
        confirmed_by = gr.Textbox(
            label="Confirmed by",
            info="Your name or initials; stored with the time and the version of the text.",
            max_length=200,
            elem_id="glint-confirmed-by",
        )
    store_now = gr.Button(
        "Store from now on",
        visible=desk.can_store,
        size="sm",
        elem_id="glint-store-now",
    )
    gr.HTML(
        "<p>While a preview runs: it goes on without a break, and what comes is stored; what "
        "was before is not in the session. With pictures, with another source or engine, and "
        "with a file the session starts anew.</p>",
        padding=False,
        visible=desk.can_store,
        elem_id="glint-store-now-note",
    )
    return store, record, subject, consented, confirmed_by, store_now


def _sources(desk: SessionDesk[Any]) -> list[tuple[str, str]]:
    return [
        (f"{each.spec}: {each.name}" if each.name else each.spec, each.spec)
        for each in desk.sources
    ]


def _starter(control: SessionControl) -> Callable[[], str]:
    def start() -> str:
        with contextlib.suppress(Exception):  # the status shows `control.error`
            control.start()
        return ""

    return start


def _told(work: Callable[[], object]) -> str:
    """Do something; return what the user did wrong as a sentence, or nothing."""
    try:
        work()
    except UserError as error:
        return _sentence(str(error))
    return ""


def _sentence(text: str) -> str:
    return f'<p class="gl-banner gl-bad" role="alert">{html.escape(text)}</p>' if text else ""

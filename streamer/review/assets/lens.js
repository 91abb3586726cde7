/* A magnifier over a picture: double click or Ctrl + wheel, drag to move. */

const HIGHEST = 8;
const DOUBLE_CLICK = 3;

/** Let the picture in `screen` be magnified as long as `ready()`; `whole` is a button that ends it. */
export const addLens = (screen, picture, whole, ready) => {
  let scale = 1;
  let x = 0;
  let y = 0;
  let held = null;

  const draw = () => {
    const { width, height } = screen.getBoundingClientRect();
    x = Math.min(Math.max(x, width * (1 - scale)), 0);
    y = Math.min(Math.max(y, height * (1 - scale)), 0);
    picture.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
    whole.hidden = scale === 1;
  };
  const magnify = (factor, event) => {
    const { left, top } = screen.getBoundingClientRect();
    const [atX, atY] = [event.clientX - left, event.clientY - top];
    const fresh = Math.min(Math.max(scale * factor, 1), HIGHEST);
    x = atX - (atX - x) * (fresh / scale);
    y = atY - (atY - y) * (fresh / scale);
    scale = fresh;
    draw();
  };

  screen.addEventListener("wheel", (event) => {
    if (!ready() || !(event.ctrlKey || event.metaKey)) return; // the page scrolls
    event.preventDefault();
    magnify(Math.exp(-event.deltaY / 300), event);
  }, { passive: false });
  screen.onpointerdown = (event) => {
    if (scale === 1 || event.target === whole) return;
    held = [event.clientX - x, event.clientY - y];
    screen.setPointerCapture(event.pointerId);
  };
  screen.onpointermove = (event) => {
    if (!held) return;
    [x, y] = [event.clientX - held[0], event.clientY - held[1]];
    draw();
  };
  screen.onpointerup = screen.onpointercancel = () => { held = null; };
  screen.ondblclick = (event) => { if (ready()) magnify(scale === 1 ? DOUBLE_CLICK : 1 / scale, event); };
  whole.onclick = (event) => magnify(1 / scale, event);
};

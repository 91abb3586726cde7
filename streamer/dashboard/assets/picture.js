// A hidden page fetches no pictures; a broken connection is taken up again.
const image = element.querySelector("img");
const source = image.getAttribute("src");
const show = () => { image.src = document.hidden ? "data:," : source + "?" + Date.now(); };
document.addEventListener("visibilitychange", show);
image.addEventListener("error", () => { if (!document.hidden) setTimeout(show, 1000); });

(() => {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const mark = event.target.closest && event.target.closest("[data-tip]");
    if (!mark) { hide(); return; }
    tip.textContent = mark.getAttribute("data-tip");
    tip.hidden = false;
    const gap = 14, box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + gap, innerWidth - box.width - gap);
    const below = event.clientY + gap + box.height < innerHeight;
    tip.style.left = Math.max(gap, left) + "px";
    tip.style.top = (below ? event.clientY + gap : event.clientY - gap - box.height) + "px";
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();

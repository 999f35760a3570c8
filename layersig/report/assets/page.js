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
  const unfold = (root) => root.querySelectorAll("details").forEach((part) => { part.open = true; });
  addEventListener("beforeprint", () => unfold(document));
  const button = document.getElementById("unfold");
  button.hidden = false;
  button.addEventListener("click", () => unfold(document));
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const own = target.querySelector(":scope > details");
    if (own) own.open = true;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();

// What the theme leaves out for the keyboard, and charts that follow the page's theme instead of the system's.

// The menus are opened by labels of check boxes, which a keyboard cannot reach: make them buttons.
function menuButton(label) {
  const box = document.getElementById(label.htmlFor);
  if (!box || label.classList.contains("overlay")) return;
  const names = { __navigation: "Navigation", __toc: "On this page" };
  label.tabIndex = 0;
  label.setAttribute("role", "button");
  label.setAttribute("aria-label", names[box.id] || "Pages below " + (label.parentElement.querySelector("a") || label).textContent.trim());
  const tell = () => label.setAttribute("aria-expanded", box.checked);
  box.addEventListener("change", tell);
  tell();
  label.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    box.click();
    const menu = { __navigation: ".sidebar-drawer a", __toc: ".toc-drawer a" }[box.id];
    if (!menu || !box.checked) return;
    for (const link of document.querySelectorAll(menu)) {
      link.focus();
      if (document.activeElement === link) break; // the theme hides some
    }
  });
}

// Escape closes an open menu, and goes back to its button.
function escape(event) {
  if (event.key !== "Escape") return;
  for (const box of document.querySelectorAll("#__navigation:checked, #__toc:checked")) {
    box.click();
    const button = [...document.querySelectorAll(`label[for="${box.id}"]:not(.overlay)`)].find(one => one.offsetParent);
    if (button) button.focus();
  }
}

function followTheme() {
  const theme = document.body.dataset.theme;
  for (const source of document.querySelectorAll('picture source[data-dark], picture source[media*="dark"]')) {
    if (!source.dataset.dark) source.dataset.dark = source.media;
    source.media = theme === "dark" ? "all" : theme === "light" ? "not all" : source.dataset.dark;
  }
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll('label[for^="__"], label[for^="toctree-checkbox"]').forEach(menuButton);
  addEventListener("keydown", escape);
  followTheme();
  new MutationObserver(followTheme).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
});

// Runs before the first paint, on the sign-in page too: what only the browser knows and the first
// page after it should already follow.
(() => {
  // Whoever left light or dark to the system gets what the system has. Whoever has chosen got it
  // from the server already, in data-bs-theme.
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    if (root.dataset.theme === "auto") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  };
  follow();
  dark.addEventListener("change", follow);

  // Pages tell times in the person's own zone. The cookie is for the dashboard's pages only, also
  // where they are a part of another site.
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const home = new URL("..", document.currentScript.src).pathname;
  document.cookie = `dashboard_zone=${timeZone}; path=${home}; max-age=31536000; samesite=lax`;
})();

// What makes server-rendered pages feel alive. Everything works without this file.
//
// A LIVE REGION is an element with an id and the attributes of the macro `live`:
//   <section id="now" {{ live(etag, fast=something_runs) }}> … </section>
// It is fetched again every `data-live` seconds, not while the tab is hidden, and at once after an
// action (event `refresh-live`). Its view answers with 304 while `data-etag` still holds, else with
// the same element, which is morphed in: focus, typed text, open <details> and dialogs stay.
// While updates fail the header says so.
//
// data-relative   a <time> whose text is kept true ("3 min ago")
// data-elapsed    a <time> that counts up from its datetime
// data-copy="id"  a button that copies the text of the element with that id
// data-dismiss    a button that closes the toast around it
// data-select-all="name"  a checkbox for all of that name in the page's table; data-count="name"
//                 tells how many of them are selected
// data-shortcut   the element that this key focuses or follows ("/", "g j")
// data-dialog-open="id"  a button that opens the dialog with that id, where without this file it
//                        leads to a page that asks the same; data-dialog-close closes it again,
//                        and so does an answer to a form in it
// #asking         the form whose buttons lead to questions, shown in the page's one dialog, #ask
(() => {
  "use strict";

  const root = document.documentElement;
  const every = (selector) => document.querySelectorAll(selector);

  // -- htmx -----------------------------------------------------------------------------------

  const typing = (element) =>
    element === document.activeElement && element.matches("input, textarea, select");

  htmx.registerExtension("dashboard", {
    htmx_config_request(element, { ctx }) {
      const headers = ctx.request.headers;
      if (ctx.request.method !== "GET") {
        headers["X-CSRFToken"] = document.getElementById("csrf-token")?.content ?? "";
      } else if (element.dataset?.live && element.dataset.etag) {
        headers["If-None-Match"] = `W/"${element.dataset.etag}"`;
      }
    },
    // What a person is in the middle of is theirs until they leave it.
    htmx_before_morph_node: (element) => !(typing(element) || element.matches("dialog[open]")),
    htmx_before_morph_attr: (element, { attrName }) =>
      !(attrName === "open" && element.matches("details")),
  });

  // -- live regions ---------------------------------------------------------------------------

  const polled = new WeakMap(); // region -> when it was last asked for
  let failures = 0;
  let signedOut = false;

  const poll = (region) => {
    polled.set(region, performance.now());
    htmx.trigger(region, "live", {}, false);
  };

  const pollDue = () => {
    if (document.hidden || signedOut) return;
    const patience = Math.min(2 ** failures, 16); // a server in trouble is asked less often
    for (const region of every("[data-live]")) {
      if (!polled.has(region)) polled.set(region, performance.now());
      const age = performance.now() - polled.get(region);
      if (age >= region.dataset.live * 1000 * patience) poll(region);
    }
  };

  const pollAll = () => {
    if (!document.hidden && !signedOut) every("[data-live]").forEach(poll);
  };

  const showStale = () => {
    const note = document.getElementById("stale");
    if (!note) return;
    note.hidden = failures === 0;
    root.toggleAttribute("data-stale", failures > 0);
    note.querySelector("span").textContent = signedOut ? "Signed out" : "Not updating";
  };

  const settle = (failed) => {
    failures = failed ? failures + 1 : 0;
    showStale();
  };

  document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
    const { status, headers } = ctx.response;
    if (status === 401) signedOut = true;
    if (ctx.sourceElement.dataset?.live) settle(status >= 400);
    else if (status >= 500 && !headers.has("HX-Reswap")) showOffline();
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (!ctx) return;
    if (ctx.sourceElement.dataset?.live) settle(true);
    else showOffline();
  });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.sourceElement.id === "pulse") showProblems(ctx.sourceElement.dataset);
    keepTime();
  });
  document.addEventListener("refresh-live", pollAll);
  document.addEventListener("visibilitychange", pollAll);
  setInterval(pollDue, 500);

  const showProblems = ({ problems, favicon }) => {
    const title = document.title.replace(/^\([^)]*\) /, "");
    document.title = problems ? `(${problems}) ${title}` : title;
    const count = document.getElementById("problem-count");
    if (count) {
      count.textContent = problems;
      count.hidden = !problems;
    }
    const link = document.querySelector("link[rel=icon]");
    if (link && link.getAttribute("href") !== favicon) link.setAttribute("href", favicon);
  };

  // -- times ----------------------------------------------------------------------------------

  const ahead = Date.parse(root.dataset.now) - Date.now(); // of the server's clock
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  const rounded = (seconds) => {
    const [size, unit] = units.find(([size]) => seconds >= size) ?? units.at(-1);
    return `${Math.floor(seconds / size)} ${unit}`;
  };
  const relative = (seconds) => {
    if (Math.abs(seconds) < 1) return "now";
    if (seconds < 0) return `${rounded(-seconds)} ago`;
    return `in ${seconds >= 3600 ? elapsed(seconds) : rounded(seconds)}`;
  };
  const elapsed = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const at = units.findIndex(([size]) => whole >= size);
    if (at < 0 || at === units.length - 1) return `${whole} s`;
    const [[large, name], [small, smallName]] = [units[at], units[at + 1]];
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${name}${rest ? ` ${rest} ${smallName}` : ""}`;
  };
  const keepTime = () => {
    if (document.hidden) return;
    const now = Date.now() + ahead;
    for (const tag of every("time[data-relative], time[data-elapsed]")) {
      const seconds = (Date.parse(tag.dateTime) - now) / 1000;
      const text = "elapsed" in tag.dataset ? elapsed(-seconds) : relative(seconds);
      if (tag.textContent !== text) tag.textContent = text;
    }
  };
  setInterval(keepTime, 1000);

  // -- toasts ---------------------------------------------------------------------------------

  const toasts = document.getElementById("toasts");
  const showOffline = () => {
    const offline = document.getElementById("toast-offline");
    if (offline) toasts?.append(offline.content.cloneNode(true));
  };
  const retire = () => {
    for (const note of toasts.querySelectorAll("[data-toast]:not([data-retiring])")) {
      // Said once more, it replaces what said so before.
      for (const other of toasts.querySelectorAll("[data-retiring]")) {
        if (other.textContent === note.textContent) other.remove();
      }
      note.dataset.retiring = "";
      const seconds = note.querySelector("form, button[form]") ? 30 : 8;
      if (note.dataset.toast !== "bad") setTimeout(() => note.remove(), seconds * 1000);
    }
  };
  if (toasts) {
    retire();
    new MutationObserver(retire).observe(toasts, { childList: true });
  }

  // -- dialogs --------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    event.target.closest("[data-dialog-close]")?.closest("dialog").close();
    const opener = event.target.closest("[data-dialog-open]");
    if (!opener) return;
    event.preventDefault();
    document.getElementById(opener.dataset.dialogOpen).showModal();
  });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.target?.id === "ask" && ctx.swap !== "none" && !ctx.target.open) ctx.target.showModal();
  });
  document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
    const answered = ctx.response.status !== 422; // else there is something to put right
    if (answered && ctx.sourceElement.matches("dialog form")) ctx.sourceElement.closest("dialog").close();
  });

  // -- the form of a job ------------------------------------------------------------------------

  document.addEventListener("input", ({ target }) => {
    if (target.closest(".editor-grid")) document.getElementById("preview").dataset.outdated = "";
    if (!target.matches("[data-calendar]")) return;
    const text = document.getElementById(target.dataset.calendar);
    text.value = target.value.replace("T", " ");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("click", ({ target }) => {
    const calendar = target.closest(".picker")?.nextElementSibling;
    if (!calendar) return;
    const text = document.getElementById(calendar.dataset.calendar).value.trim();
    calendar.value = text.replace(" ", "T").slice(0, 19);
    calendar.showPicker();
  });

  // -- actions --------------------------------------------------------------------------------

  // Buttons of the form #act say where they go; what they do is answered by a toast, and the live
  // regions look again. One of them may do so before the answer is there, and take the button away:
  // htmx drops an answer whose target is gone, and would take the button for it.
  const acting = new WeakSet();
  document.getElementById("act")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (acting.has(button)) return;
    acting.add(button);
    await htmx.ajax("POST", button.formAction, { source: button, target: "#toasts", swap: "none" });
    acting.delete(button);
    button.closest("[data-toast]")?.remove();
  });

  // Buttons of the form #asking say where the question is that comes before an action.
  document.getElementById("asking")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    htmx.ajax("GET", button.formAction, { source: button, target: "#ask" });
  });

  // -- selecting rows -------------------------------------------------------------------------

  const boxes = (name) => every(`input[type=checkbox][name="${name}"][form]`);
  const showSelected = () => {
    for (const place of every("[data-count]")) {
      const chosen = [...boxes(place.dataset.count)].filter((box) => box.checked).length;
      place.textContent = `${chosen} selected`;
    }
    for (const all of every("[data-select-all]")) {
      const states = new Set([...boxes(all.dataset.selectAll)].map((box) => box.checked));
      all.checked = states.has(true) && !states.has(false);
      all.indeterminate = states.size === 2;
    }
  };
  document.addEventListener("change", ({ target }) => {
    const name = target.dataset.selectAll;
    if (name) for (const box of boxes(name)) box.checked = target.checked;
    showSelected();
  });
  document.addEventListener("htmx:after:swap", showSelected);
  showSelected();

  // -- small comforts -------------------------------------------------------------------------

  document.addEventListener("click", async ({ target }) => {
    target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove();
    const copy = target.closest("[data-copy]");
    if (copy) {
      const source = document.getElementById(copy.dataset.copy);
      getSelection().selectAllChildren(source); // over plain http there is no clipboard to write to
      await navigator.clipboard?.writeText(source.textContent);
      if (navigator.clipboard) copy.dataset.copied = "";
      setTimeout(() => delete copy.dataset.copied, 2000);
    }
    for (const menu of every("details.person[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!("themeForm" in form.dataset)) return;
    event.preventDefault();
    const choice = event.submitter.value;
    root.dataset.theme = choice;
    const dark = choice === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : choice === "dark";
    root.dataset.bsTheme = dark ? "dark" : "light";
    for (const button of form.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === choice));
    }
    const body = new URLSearchParams(new FormData(form));
    body.set("theme", choice);
    fetch(form.action, { method: "POST", body, redirect: "manual", keepalive: true }); // although the person goes on
  });

  // The server would cut the connection before the browser has sent it all, and say nothing.
  document.addEventListener("change", ({ target }) => {
    if (!target.matches("input[type=file][data-largest]")) return;
    const size = target.files[0]?.size ?? 0;
    const message = `This file has ${size.toLocaleString("en")} bytes; at most ${Number(target.dataset.largest).toLocaleString("en")} are read.`;
    target.setCustomValidity(size > target.dataset.largest ? message : "");
    target.reportValidity();
  });

  let keys = "";
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of every("details.person[open]")) menu.open = false;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
    if (event.target.closest(writing) || document.querySelector("dialog[open]")) return;
    keys = `${keys} ${event.key}`.trim().split(" ").slice(-2).join(" ");
    const wanted = [...every("[data-shortcut]")].find(({ dataset: { shortcut } }) =>
      shortcut === keys || shortcut === event.key);
    if (!wanted) return;
    event.preventDefault();
    keys = "";
    if (wanted.matches("a, button")) wanted.click();
    else wanted.focus();
  });
})();

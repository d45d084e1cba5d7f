// What the panels are made of.
{
  const el = (live.el = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  });
  const button = (live.button = (textContent, onclick) => el("button", { type: "button", textContent, onclick }));
  const field = (live.field = (name, control, ...number) =>
    el("label", { className: "live-field" }, el("span", {}, name, ...number), control));
  live.slider = (name, [min, max, step, value], show = String) => {
    const [number, input] = [el("b", { ariaHidden: "true" }), el("input", { type: "range", min, max, step, value })];
    input.oninput = () => (input.ariaValueText = number.textContent = show(+input.value));
    input.oninput();
    return field(name, input, " ", number);
  };

  // A panel of fields and a button that starts and stops an action; what it returns is said.
  live.panel = (fields, name, act, ...more) => {
    let [said, work] = [el("p", { role: "status" }), null];
    const toggle = button(name, async () => {
      if (work) return (said.textContent = "Stopping."), work.return();
      [toggle.textContent, said.textContent] = ["Stop", "Working."];
      said.textContent = await act((started, each) => live.run((work = started), each));
      [toggle.textContent, work] = [name, null];
    });
    const onkeydown = ({ key, target }) => {
      if (key === "Enter" && target.matches("input") && !work) toggle.click();
    };
    return [el("div", { className: "live-fields", onkeydown }, ...Object.values(fields)), toggle, said, ...more];
  };

  // A text whose characters can be pointed at, by mouse, finger or arrow keys; it is one Tab stop.
  const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -20, ArrowDown: 20, Home: -1e9, End: 1e9 };
  live.Text = class {
    constructor(describe) {
      const box = el("div", { className: "live-text", role: "listbox", ariaLabel: "Characters", hidden: true });
      Object.assign(this, { box, about: el("div", { className: "live-about", ariaLive: "polite" }) });
      const point = ({ target }) => target !== box && this.about.replaceChildren(...describe(target.place));
      box.onpointerover = point;
      box.addEventListener("focusin", (event) => {
        box.querySelector("[tabindex='0']").tabIndex = -1;
        event.target.tabIndex = 0;
        point(event);
      });
      box.onkeydown = (event) => {
        if (!STEPS[event.key]) return;
        event.preventDefault();
        (box.children[Math.max(event.target.place + STEPS[event.key], 0)] ?? box.lastChild).focus();
      };
    }
    clear = () => [this.box, this.about].forEach((element) => element.replaceChildren());
    add(char, known) {
      const place = this.box.childElementCount;
      const ariaLabel = { " ": "space", "\n": "line end" }[char] ?? live.seen(char);
      const span = el("span", { role: "option", textContent: char, ariaLabel, place, tabIndex: place ? -1 : 0 });
      if (!known) span.className = "live-unknown";
      this.box.append(span);
      this.box.hidden = false;
    }
    shade(place, strength) {
      const span = this.box.children[place];
      span.style.setProperty("--strength", Math.min(Math.abs(strength), 1).toFixed(3));
      span.classList.toggle("live-below", strength < 0);
    }
  };
  live.two = (number) => number.toFixed(2).replace("-", "−");
  // Characters that have no look of their own, such as tabs and accents, are named.
  const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  live.seen = (chars) => chars.replaceAll(" ", "␣").replaceAll("\n", "⏎").replace(/[\s\p{M}\p{C}]/gu, code);
  live.unknown = (model, chars) => {
    const found = [...new Set(chars.filter((char) => !model.ids.has(char)))].map(live.seen).join(" ");
    return found && ` The book has no ${found}: the model reads its sign for unknown characters there.`;
  };
  live.likeliest = (model, columns) => {
    const percents = (id) => Object.values(columns).map((probs) => `${(100 * probs[id]).toFixed(1)} %`);
    const row = (cells, tag) => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
    const [first] = Object.values(columns);
    const five = [...first.keys()].sort((a, b) => first[b] - first[a]).slice(0, 5);
    const rows = five.map((id) => row([live.seen(model.vocab[id]), ...percents(id)], "td"));
    return el("table", {}, row(["likeliest", ...Object.keys(columns)], "th"), ...rows);
  };

  // Start a panel, at once or when its reader asks for it; until then what was recorded is shown.
  const open = (box) => {
    const [panel, bar] = [el("div", { className: "live-panel" }), el("progress", { max: 1, ariaLabel: "Loading" })];
    const start = button(`Start (loads ${box.dataset.size})`, async () => {
      panel.replaceChildren(bar);
      try {
        panel.replaceChildren(...(await live.panels[box.dataset.panel](box, (share) => (bar.value = share))));
        box.classList.add("live-started");
      } catch (error) {
        panel.replaceChildren(el("p", { role: "alert", textContent: error.message }), start);
      }
      const lost = document.activeElement === document.body; // as the button was that had the focus
      if (box.dataset.size && lost) panel.querySelector("input, textarea, button").focus();
    });
    panel.append(start);
    box.querySelector(".live-recorded").after(panel);
    if (!box.dataset.size) start.click();
  };
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".live").forEach(open));
}

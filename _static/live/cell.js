// The panel of one unit, whose gates and candidate are set by hand.
live.panels.cell = () => {
  const { two } = live;
  const fields = [
    live.slider("Input gate I", [0, 1, 0.05, 0]),
    live.slider("Forget gate F", [0, 1, 0.05, 0]),
    live.slider("Candidate C̃", [-1, 1, 0.005, 0]),
    live.slider("Output gate O", [0, 1, 0.05, 0]),
    live.slider("Candidate", [1, 10, 1, 1], (n) => (n > 1 ? `every ${n} steps` : "every step")),
  ];
  const picture = live.el("div", { className: "live-picture", role: "img" });
  const [said, buttons] = [live.el("p", { ariaLive: "polite" }), live.el("div")];
  let [past, timer] = [[], null];

  function step() {
    const [I, F, candidate, O, every] = fields.map(({ control }) => +control.value);
    const [{ C: before }, pulse] = [past.at(-1), past.length % every === 0];
    const C̃ = pulse ? candidate : 0;
    const C = live.update(F, before, I, C̃);
    past.push({ C, H: live.show(O, C), pulse });
    said.textContent =
      `New C = F · C + I · C̃ = ${two(F)} · ${two(before)} + ${two(I)} · ${`${C̃}`.replace("-", "−")} = ${two(C)}, and ` +
      `H = O · tanh(C) = ${two(O)} · ${two(Math.tanh(C))} = ${two(live.show(O, C))}.`;
  }

  function draw() {
    const shown = past.slice(-21); // the last twenty steps, and what was before them
    const numbers = shown.flatMap(({ C, H }) => [C, H]);
    const [low, high] = [Math.min(0, ...numbers), Math.max(1, ...numbers)];
    const [x, y] = [(i) => 44 + 16 * i, (value) => 128 - (116 * (value - low)) / (high - low)];
    const text = (x, y, words, name) => `<text x="${x}" y="${y}" class="${name}">${words}</text>`;
    const level = (value) => `<path d="M44 ${y(value)}h320"/>${text(38, y(value) + 4, two(value), "")}`;
    const line = (name, above) =>
      `<polyline class="live-${name}" points="${shown.map((now, i) => [x(i), y(now[name])])}"/>` +
      text(x(shown.length - 1) + 6, y(shown.at(-1)[name]) - above, name, "live-name");
    const pulses = shown.map(({ pulse }, i) => (pulse ? `<path class="live-pulse" d="M${x(i)} 150v-10"/>` : ""));
    const parts = [...[...new Set([low, 0, high])].map(level), ...pulses, line("C", 3), line("H", -11), text(38, 150, "C̃", "")];
    picture.innerHTML = `<svg viewBox="0 0 400 156" aria-hidden="true">${parts.join("")}</svg>`;
    const list = (name) => `${name}: ${shown.map((now) => two(now[name])).join(", ")}`;
    picture.ariaLabel = `The last twenty steps. ${list("C")}. ${list("H")}.`;
  }

  function set(values, steps) {
    for (const [i, { control }] of fields.entries()) control.oninput((control.value = values[i]));
    past = [{ C: 0.7, H: live.show(values[3], 0.7), pulse: false }];
    for (let t = 0; t < steps; t++) step();
    draw();
  }
  const again = () => (step(), draw());
  const run = live.button("Run", () => {
    timer = timer ? clearInterval(timer) : setInterval(again, 400);
    [run.textContent, said.ariaLive] = timer ? ["Pause", "off"] : ["Run", "polite"];
  });
  const preset = (name, steps, ...values) => live.button(name, () => set(values, steps));
  const example = preset("The example", 1, 0.2, 0.9, 0.995, 0.6, 1);
  buttons.append(live.button("Step", again), run, example, preset("Keep", 20, 0, 1, 1, 1, 1));
  buttons.append(preset("Forget", 20, 0, 0.7, 1, 1, 1), preset("Count", 20, 1, 1, 1, 1, 4));
  example.click();
  return [live.el("div", { className: "live-fields" }, ...fields), buttons, picture, said];
};

// The panel that reads: each character is coloured by a unit of the cell, the state or a gate.
live.panels.read = async (box, tell) => {
  const model = await live.load(box, "weights", (share) => tell(0.8 * share));
  const counts = await live.load(box, "ngrams", (share) => tell(0.8 + 0.2 * share));
  const { el, field, two } = live;
  const option = ([textContent, value]) => el("option", { textContent, value });
  const choice = (options) => el("select", { onchange: () => steps.length && colour() }, ...options.map(option));
  const parts = ["cell C", "tanh(C)", "state H", "input gate I", "forget gate F", "output gate O"];
  const found = Object.entries(model.units).map(([name, unit]) => [`${unit}, ${name}`, unit]);
  const every = Array.from({ length: model.numHiddens }, (_, unit) => [`${unit}`, unit]);
  const recorded = box.querySelector(".live-recorded pre").textContent;
  const fields = {
    area: field("Text, 1500 characters at most", el("textarea", { rows: 7, maxLength: 1500, value: recorded })),
    part: field("Colour by", choice(parts.map((name) => [name, name.replace(/.* /, "")]))),
    unit: field("Unit", choice([...found, ...every])),
  };
  let [chars, steps, scale] = [[], [], el("p")];
  const value = ({ state: { C, ...others } }) => {
    const of = { C, "tanh(C)": C.map(Math.tanh), ...others };
    return of[fields.part.control.value][fields.unit.control.value];
  };
  const text = new live.Text((place) => [
    `After “${live.seen(chars[place])}” the unit is at ${two(value(steps[place]))}.`,
    live.likeliest(model, { probability: live.probabilities(model.logits(steps[place].state)) }),
  ]);
  const colour = () => {
    const values = steps.map(value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const top = Math.max(1, high, -low);
    values.forEach((value, place) => text.shade(place, value / top));
    const until = (value) => live.seen(chars.slice(0, values.indexOf(value) + 1).slice(-12).join(""));
    scale.textContent =
      `Orange is above 0, blue below; the full colour is ±${top.toFixed(1)}. The largest value is ` +
      `${two(high)}, after “${until(high)}”, the smallest ${two(low)}, after “${until(low)}”.`;
  };
  const read = async (run) => {
    const typed = [...fields.area.control.value];
    if (typed.length < 2) return "Give it at least two characters to read.";
    [chars, steps] = [typed, []];
    const [ids, bits] = [live.ids(model, chars), [[], []]];
    const mean = (list) => list.reduce((sum, bits) => sum + bits, 0) / list.length;
    text.clear();
    await run(live.generate(model, ids), (step) => {
      const [place, { token, logits }] = [steps.push(step) - 1, step];
      text.add(chars[place], token > 0);
      if (!place || !token) return; // nothing foretold the first, and nobody can foretell the unknown
      bits[0].push(-Math.log2(live.probabilities(logits)[token]));
      bits[1].push(-Math.log2(counts.probability(token, ids.slice(0, place))));
    });
    colour();
    const [lstm, counted] = bits.map((list) => (list.length ? mean(list).toFixed(2) : "no"));
    return `The LSTM needs ${lstm} bits a character, Kneser and Ney ${counted}.${live.unknown(model, chars)}`;
  };
  return live.panel(fields, "Read", read, text.box, scale, text.about);
};

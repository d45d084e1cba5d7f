// The panel that writes: each character is shaded by its surprise.
live.panels.write = async (box, tell) => {
  const [{ el, field, slider }, model] = [live, await live.load(box, "weights", tell)];
  const size = model.vocab.length;
  const fields = {
    prompt: field("Begin with", el("input", { value: "The island", maxLength: 200 })),
    seed: field("Seed", el("input", { value: "1", inputMode: "numeric", maxLength: 9 })),
    temperature: slider("Temperature", [0.1, 2, 0.1, 0.7], (t) => t.toFixed(1)),
    topK: slider("Top k", [1, size, 1, size], (k) => (k < size ? `${k}` : "all")),
    topP: slider("Top p", [0.05, 1, 0.05, 1], (p) => p.toFixed(2)),
  };
  let [steps, drawn] = [[], null];
  const surprise = ({ token, logits }) => -Math.log2(live.probabilities(logits)[token]);
  const text = new live.Text((place) => {
    const { char, logits } = steps[place];
    if (!logits) return ["Nothing stood before the first character."];
    const columns = { probability: live.probabilities(logits), "as drawn": drawn(logits) };
    const said = `“${live.seen(char)}” was a surprise of ${surprise(steps[place]).toFixed(2)} bits.`;
    return [said, live.likeliest(model, columns)];
  });
  const show = (step, place) => {
    text.add(step.char, step.token > 0);
    if (step.logits) text.shade(place, surprise(step) / 8);
  };
  const write = async (run) => {
    const [chars, seed] = [[...fields.prompt.control.value], fields.seed.control.value.trim()];
    if (!chars.length) return "Give it at least one character to begin with.";
    if (!/^\d+$/.test(seed)) return "The seed has to be a whole number, such as 1.";
    const settings = [fields.temperature, fields.topK, fields.topP].map(({ control }) => +control.value);
    const [random, calm] = [live.generator(+seed), matchMedia("(prefers-reduced-motion)").matches];
    [steps, drawn] = [[], (logits) => live.probabilities(logits, ...settings)];
    text.clear();
    const work = live.generate(model, live.ids(model, chars), 600, (logits) => live.draw(drawn(logits), random));
    await run(work, ({ token, logits }) => {
      const place = steps.push({ char: chars[steps.length] ?? model.vocab[token], token, logits }) - 1;
      if (!calm) show(steps[place], place);
    });
    if (calm) steps.forEach(show);
    return `${steps.length} characters.${live.unknown(model, chars)}`;
  };
  return live.panel(fields, "Write", write, text.box, text.about);
};

// Chapter 08's equations once more, under their names, with the weights that chapter 10 trained.
// A vector is an array; a matrix is a flat one with a row for each unit, as PyTorch keeps it.
const live = { panels: {} };
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
live.update = (F, C, I, C̃) => F * C + I * C̃;
live.show = (O, C) => O * Math.tanh(C);

// b + X W. Eight rows of W run side by side: alone, each addition would wait for the one before.
function plus(b, X, W) {
  const [sums, n] = [b.slice(), X.length];
  for (let j = 0; j < b.length; j += 8) {
    let [p, q, r, s, t, u, v, w] = [0, 0, 0, 0, 0, 0, 0, 0];
    for (let k = 0, at = j * n; k < n; k++, at++) {
      const x = X[k];
      p += x * W[at];
      q += x * W[at + n];
      r += x * W[at + 2 * n];
      s += x * W[at + 3 * n];
      t += x * W[at + 4 * n];
      u += x * W[at + 5 * n];
      v += x * W[at + 6 * n];
      w += x * W[at + 7 * n];
    }
    [p, q, r, s, t, u, v, w].forEach((sum, i) => (sums[j + i] += sum));
  }
  return sums;
}

live.LSTM = class {
  constructor(vocab, units, weights) {
    const quarters = (W) => [0, 1, 2, 3].map((i) => W.subarray((i * W.length) / 4, ((i + 1) * W.length) / 4));
    const b = weights["layer.bias_ih_l0"].map((b, j) => b + weights["layer.bias_hh_l0"][j]); // PyTorch has two
    [this.W_xi, this.W_xf, this.W_xc, this.W_xo] = quarters(weights["layer.weight_ih_l0"]);
    [this.W_hi, this.W_hf, this.W_hc, this.W_ho] = quarters(weights["layer.weight_hh_l0"]);
    [this.b_i, this.b_f, this.b_c, this.b_o] = quarters(b);
    [this.W_hq, this.b_q, this.vectors] = ["output.weight", "output.bias", "embedding.weight"].map((n) => weights[n]);
    [this.numHiddens, this.numInputs] = [b.length / 4, this.vectors.length / vocab.length];
    Object.assign(this, { vocab, units, inputs: [], ids: new Map(vocab.map((char, id) => [char, id])) });
  }
  // Gates, candidate, cell and state after one more token. The inputs' part of the sums is the same
  // whenever the token comes.
  step(token, { H, C: before }) {
    const X = this.vectors.subarray(token * this.numInputs, (token + 1) * this.numInputs);
    const input = (gate) => plus(this[`b_${gate}`], X, this[`W_x${gate}`]);
    const [x_i, x_f, x_c, x_o] = (this.inputs[token] ??= ["i", "f", "c", "o"].map(input));
    const I = plus(x_i, H, this.W_hi).map(sigmoid);
    const F = plus(x_f, H, this.W_hf).map(sigmoid);
    const C̃ = plus(x_c, H, this.W_hc).map(Math.tanh);
    const O = plus(x_o, H, this.W_ho).map(sigmoid);
    const C = before.map((C, j) => live.update(F[j], C, I[j], C̃[j]));
    return { I, F, C̃, O, C, H: C.map((C, j) => live.show(O[j], C)) };
  }
  logits({ H }) {
    return plus(this.b_q, H, this.W_hq);
  }
};
live.ids = (model, chars) => chars.map((char) => model.ids.get(char) ?? 0); // 0: unknown

// Read the ids, then go on writing: each token, the logits before it and the state after it.
live.generate = function* (model, ids, numTokens = 0, pick = null) {
  const zeros = new Float32Array(model.numHiddens);
  for (let t = 0, state = { H: zeros, C: zeros }, logits = null; t < ids.length + numTokens; t++) {
    const token = t < ids.length ? ids[t] : pick(logits);
    state = model.step(token, state);
    yield { token, logits, state };
    logits = model.logits(state);
  }
};

// softmax(logits / temperature), of which topK tokens are kept, and of them as few as have topP.
live.probabilities = (logits, temperature = 1, topK = logits.length, topP = 1) => {
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, topK);
  const powers = order.map((id) => Math.exp((logits[id] - logits[order[0]]) / temperature));
  const all = powers.reduce((sum, power) => sum + power);
  let [kept, mass] = [0, 0];
  while (kept < order.length && (topP === 1 || mass < topP)) mass += powers[kept++] / all;
  const probs = new Float64Array(logits.length);
  order.slice(0, kept).forEach((id, i) => (probs[id] = powers[i] / all / mass));
  return probs;
};

// Numbers from 0 to 1, the same for the same seed. Source: mulberry32 by Tommy Ettinger (2017)
live.generator = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let z = Math.imul(seed ^ (seed >>> 15), seed | 1);
  z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
  return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
};
live.draw = (probs, random) => {
  let left = random();
  const drawn = probs.findIndex((p) => (left -= p) < 0);
  return drawn < 0 ? probs.indexOf(Math.max(...probs)) : drawn; // where the sum is just below 1
};

// Kneser and Ney's counts, as in utils.ngrams. A token is one character of a string here.
live.KneserNey = class {
  // A file has the longest n-grams; the counts of the shorter ones, of the distinct tokens before
  // them, follow. It yields after each n-gram.
  *build({ vocab_size, order, discount, start, grams }) {
    Object.assign(this, { vocab_size, order, discount, counts: new Map(), totals: new Map() });
    let [longer, gram] = [new Map(), ""];
    for (let at = 0; at < grams.length; yield) {
      const head = grams.charCodeAt(at++) - 35;
      gram = gram.slice(0, head % order) + grams.slice(at, (at += order - (head % order)));
      longer.set(gram, head < 9 * order ? Math.floor(head / order) : grams.charCodeAt(at++) - 26);
    }
    for (let first = start; longer.size; first = first.slice(0, -1)) {
      const shorter = new Map(first ? [[first, 0]] : []); // the text's first need not follow anything
      for (const [gram, count] of longer) {
        const [N, D] = this.totals.get(gram.slice(0, -1)) ?? [0, 0];
        if (count) this.totals.set(gram.slice(0, -1), [N + count, D + 1]);
        this.counts.set(gram, count);
        if (first) shorter.set(gram.slice(1), (shorter.get(gram.slice(1)) ?? 0) + 1);
        yield;
      }
      longer = shorter;
    }
    return this;
  }
  probability(token, context) {
    const gram = String.fromCharCode(...[...context, token].slice(-this.order).map((id) => 35 + id));
    let p = 1 / this.vocab_size;
    for (let from = gram.length - 1; from >= 0 && this.totals.has(gram.slice(from, -1)); from--) {
      const [N, D] = this.totals.get(gram.slice(from, -1));
      p = (Math.max((this.counts.get(gram.slice(from)) ?? 0) - this.discount, 0) + this.discount * D * p) / N;
    }
    return p;
  }
};

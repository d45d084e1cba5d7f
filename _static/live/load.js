// How a page gets the model: by scripts, since a page in a folder may read nothing else.
{
  const [home, received, loaded] = [document.currentScript.src, {}, {}];
  let failures = 0; // after which a browser must not take what it has kept
  live.receive = (name, part, parts, sha256, piece) => (received[name][part] = { parts, sha256, piece });

  // Run a generator in slices of some milliseconds, between which the browser draws.
  live.run = async (work, each, ms = 28) => {
    for (;;) {
      for (const end = performance.now() + ms; performance.now() < end; ) {
        const { value, done } = work.next();
        if (done) return value;
        each?.(value);
      }
      await new Promise(requestAnimationFrame);
    }
  };

  // What the files of a kind hold together; its hash must be the one that each of them and the page name.
  async function content(name, sha256, tell) {
    const got = (received[name] = []);
    for (let part = 0; part < (got[0]?.parts ?? 1); part++) {
      const script = document.createElement("script");
      script.src = new URL(`${name}-${part + 1}.js?${sha256}-${failures}`, home);
      document.head.append(script);
      await new Promise((resolve) => (script.onload = script.onerror = resolve));
      tell((part + 1) / got[part].parts); // fails where the file did not give its part
    }
    const text = got.map(({ piece }) => piece).join("");
    // A browser hashes on pages of https, of this computer and of a folder.
    const hash = await crypto.subtle?.digest("SHA-256", new TextEncoder().encode(text));
    const hex = Array.from(new Uint8Array(hash ?? []), (byte) => (256 + byte).toString(16).slice(1)).join("");
    for (const named of [hex || sha256, ...got.map((part) => part.sha256)])
      if (named !== sha256) throw new Error(`${named} is not ${sha256}`);
    await new Promise(requestAnimationFrame);
    return JSON.parse(text);
  }

  // The numbers of a tensor. A row is a scale and the digits of integers, or the numbers themselves.
  const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const DIGITS = Array.from({ length: 128 }, (_, code) => BASE64.indexOf(String.fromCharCode(code)));
  function* numbers(rows) {
    const width = rows[0][1].length / 2 || rows[0].length;
    const found = new Float32Array(rows.length * width);
    for (const [r, [scale, digits]] of rows.entries()) {
      const digit = (i) => DIGITS[digits.charCodeAt(i)];
      const number = (n) => scale * (64 * digit(2 * n) + digit(2 * n + 1) - 2048);
      for (let n = 0; n < width; n++) found[r * width + n] = digits.length ? number(n) : rows[r][n];
      yield;
    }
    return found;
  }

  // Each kind is loaded once, whichever panel asks first; after a failure it may be tried again.
  live.load = (box, kind, tell) => {
    const name = `${box.dataset.model}-${kind}`;
    loaded[name] ??= content(name, box.dataset[kind], tell).then(async (file) => {
      if (kind === "ngrams") return live.run(new live.KneserNey().build(file));
      for (const key in file.tensors) file.tensors[key] = await live.run(numbers(file.tensors[key]));
      return new live.LSTM(file.vocab, file.units, file.tensors);
    });
    return loaded[name].catch((cause) => {
      delete loaded[name];
      failures += 1;
      throw new Error(`The files ${name} are missing or damaged. Reload the page to try again.`, { cause });
    });
  };
}

/* What was packed into the page, and the laboratory in its Worker. */
"use strict";

const facts = JSON.parse($("facts").textContent);

async function unpack(name, Kind) {
  const stream = new Blob([bytesOf($(name).textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), wide = Kind.BYTES_PER_ELEMENT;
  const out = new Kind(planes.length / wide), to = new Uint8Array(out.buffer);
  for (let plane = 0, at = 0; plane < wide; plane++) // low bytes first
    for (let i = plane; i < to.length; i += wide) to[i] = planes[at++];
  return Kind === Int16Array ? out.map((v) => ((v & 0xffff) >> 1) ^ -(v & 1)) : out; // the sign was the lowest bit
}

/* Everything a laboratory takes; the kernels are checked and compiled where it works. */
async function partsOf(entry) {
  const { weights, preprocessing: { arrays }, ...rest } = entry;
  const values = weights.half ? fromHalf(await unpack(weights.blob, Uint16Array)) : await unpack(weights.blob, Float32Array);
  const constants = {};
  for (const [name, blob] of Object.entries(arrays)) constants[name] = await unpack(blob, name === "half" ? Int16Array : Float32Array);
  const kernels = atob($("kernels").textContent);
  return {
    network: entry.network, facts: { classMap: rest.classMap, votes: rest.votes }, values, constants,
    preprocessing: entry.preprocessing, binary: Uint8Array.from(kernels, (c) => c.charCodeAt(0)),
  };
}

/* The laboratory answers in order. */
const laboratory = {
  waiting: new Map(), last: 0,
  start() {
    const source = [$("engine"), $("worker")].map((script) => script.textContent).join("\n");
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: { id, result, progress, error } }) => {
      const waiting = this.waiting.get(id);
      if (!waiting) return;
      if (progress !== undefined) return waiting.progress?.(progress);
      this.waiting.delete(id);
      if (error) waiting.reject(new Error(error));
      else waiting.resolve(result);
    };
    this.worker.onerror = (event) => fail(event.message);
  },
  ask(kind, question, progress) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      this.worker.postMessage({ id, kind, ...question });
    });
  },
};

function fail(message) {
  $("state").hidden = false;
  $("state").textContent = `This did not work: ${message}`;
}

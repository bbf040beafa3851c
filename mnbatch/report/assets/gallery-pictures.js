"use strict";
// A cell's crop out of its strip, and its map drawn over it.
mnbatch.pictures = (() => {
  const held = new Map();

  const source = (cell) => `${cell.slide.base}s${String(cell.strip).padStart(4, "0")}.jpg`;

  function show(image, cell) {
    const [number, width, height, pitch] = cell.slide.strips[cell.strip];
    const from = source(cell);
    if (image.getAttribute("src") !== from) image.src = from;
    image.style.top = `${(-100 * cell.within * pitch) / height}%`;
    image.style.height = `${(100 * number * pitch) / height}%`;
    image.parentElement.style.aspectRatio = `${width} / ${height}`;
  }

  // Strips of the next cells of the queue, decoded before they are needed.
  function preload(cells) {
    const wanted = new Set(cells.map(source));
    for (const from of held.keys()) if (!wanted.has(from)) held.delete(from);
    for (const from of wanted) {
      if (held.has(from)) continue;
      const image = new Image();
      image.src = from;
      image.decode().catch(() => {});
      held.set(from, image);
    }
  }

  function values(cell, kind) {
    const bytes = cell.slide.maps, side = cell.slide.side, size = side * side;
    const record = 3 * size + 4, start = cell.at * record;
    const found = new Float32Array(size);
    if (kind !== "evidence") {
      const offset = start + (kind === "attention6" ? size : 0);
      for (let i = 0; i < size; i++) found[i] = bytes[offset + i] / 255;
      return found;
    }
    const view = new DataView(bytes.buffer, start, record);
    const unit = view.getFloat32(3 * size, true) / 127 / cell.slide.limit;
    const at = (y, x) => view.getInt8(2 * size + Math.min(side - 1, Math.max(0, y)) * side + Math.min(side - 1, Math.max(0, x)));
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
      let sum = 0;
      for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) sum += (2 - Math.abs(dy)) * (2 - Math.abs(dx)) * at(y + dy, x + dx);
      found[y * side + x] = (sum / 16) * unit;
    }
    return found;
  }

  function draw(canvas, cell, kind) {
    const context = canvas.getContext("2d");
    const side = cell.slide.side;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const [start, share] = cell.slide.box;
    canvas.style.left = canvas.style.top = `${100 * start}%`;
    canvas.style.width = canvas.style.height = `${100 * share}%`;
    if (!cell.slide.maps || !cell.slide.given.includes(kind)) { context.clearRect(0, 0, side, side); return; }
    const evidence = kind === "evidence";
    const ramp = evidence ? mnbatch.page.evidence : mnbatch.page.attention;
    const last = ramp.length / 4 - 1, low = evidence ? -1 : 0;
    const image = context.createImageData(side, side);
    values(cell, kind).forEach((value, i) => {
      const step = Math.round(((Math.min(1, Math.max(low, value)) - low) / (1 - low)) * last);
      for (let c = 0; c < 4; c++) image.data[4 * i + c] = ramp[4 * step + c];
    });
    context.putImageData(image, 0, 0);
  }

  function make(withMap) {
    const frame = document.createElement("span"), image = document.createElement("img");
    frame.className = "frame";
    image.alt = "";
    image.decoding = "async";
    image.draggable = false;
    frame.append(image);
    if (!withMap) return frame;
    const canvas = document.createElement("canvas");
    frame.append(canvas);
    return frame;
  }

  return { show, preload, draw, make };
})();

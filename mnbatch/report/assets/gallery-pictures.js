"use strict";
// A cell's crop out of its strip, and its map drawn over it. A crop is shown when it is decoded, and never before.
mnbatch.pictures = (() => {
  const MOST_CROPS = 800, MOST_STRIPS = 160;
  const crops = new Map(), strips = new Map(), coming = new Map();
  const source = (cell) => `${cell.slide.base}s${String(cell.strip).padStart(4, "0")}.jpg`;

  function strip(from) {
    const known = strips.get(from);
    if (known) { strips.delete(from); strips.set(from, known); return known; }
    const image = new Image();
    image.decoding = "async";
    image.src = from;
    const decoded = image.decode().then(() => image);
    strips.set(from, decoded);
    decoded.catch(() => strips.delete(from));
    for (const old of strips.keys()) { if (strips.size <= MOST_STRIPS) break; strips.delete(old); }
    return decoded;
  }

  function cut(image, cell) {
    const [number, width, height, pitch] = cell.slide.strips[cell.strip];
    const whole = width === 1;
    const canvas = document.createElement("canvas");
    canvas.width = whole ? image.naturalWidth : width;
    canvas.height = whole ? image.naturalHeight : height;
    const top = whole || number === 1 ? 0 : cell.within * pitch;
    canvas.getContext("2d").drawImage(image, 0, top, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    crops.set(cell, canvas);
    for (const old of crops.keys()) { if (crops.size <= MOST_CROPS) break; crops.delete(old); }
    return canvas;
  }

  // The decoded crop, or null where it is not here yet.
  function ready(cell) {
    const known = crops.get(cell);
    if (known) { crops.delete(cell); crops.set(cell, known); }
    return known || null;
  }

  function load(cell) {
    const known = ready(cell);
    if (known) return Promise.resolve(known);
    const asked = coming.get(cell);
    if (asked) return asked;
    const answer = strip(source(cell)).then((image) => cut(image, cell)).finally(() => coming.delete(cell));
    coming.set(cell, answer);
    return answer;
  }

  const preload = (cells) => { for (const cell of cells) load(cell).catch(() => {}); };

  const CHANNELS = ["all", "red", "green", "blue"];
  const TINTS = { red: "#f00", green: "#0f0", blue: "#00f" };
  const adjustments = new Map();
  const PLAIN = { brightness: 1, contrast: 1, invert: false, channel: "all" };

  function adjusted(slide) {
    if (!adjustments.has(slide.id)) {
      let kept = null;
      try { kept = JSON.parse(mnbatch.state.prefs.get(`mnbatch|adjust|${slide.id}`)); } catch { /* as it is, then */ }
      adjustments.set(slide.id, { ...PLAIN, ...kept });
    }
    return adjustments.get(slide.id);
  }

  function adjust(slide, change) {
    const value = change ? { ...adjusted(slide), ...change } : { ...PLAIN };
    adjustments.set(slide.id, value);
    mnbatch.state.prefs.put(`mnbatch|adjust|${slide.id}`, JSON.stringify(value));
    return value;
  }

  function show(canvas, cell) {
    const crop = ready(cell);
    if (!crop) return false;
    if (canvas.width !== crop.width) canvas.width = crop.width;
    if (canvas.height !== crop.height) canvas.height = crop.height;
    const context = canvas.getContext("2d");
    const { brightness, contrast, invert, channel } = adjusted(cell.slide);
    context.globalCompositeOperation = "copy";
    context.drawImage(crop, 0, 0);
    if (channel !== "all") {
      context.globalCompositeOperation = "multiply";
      context.fillStyle = TINTS[channel];
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    const plain = brightness === 1 && contrast === 1 && !invert;
    canvas.style.filter = plain ? "" : `brightness(${brightness}) contrast(${contrast})${invert ? " invert(1)" : ""}`;
    canvas.closest(".frame").style.aspectRatio = `${crop.width} / ${crop.height}`;
    return true;
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
    const frame = document.createElement("span"), inner = document.createElement("span"), picture = document.createElement("canvas");
    frame.className = "frame";
    inner.className = "inner";
    picture.className = "pic";
    inner.append(picture);
    frame.append(inner);
    if (!withMap) return { frame, inner, picture, map: null };
    const map = document.createElement("canvas");
    map.className = "map";
    inner.append(map);
    return { frame, inner, picture, map };
  }

  return { show, ready, load, preload, draw, make, adjust, adjusted, CHANNELS };
})();

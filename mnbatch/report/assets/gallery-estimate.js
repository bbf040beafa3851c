"use strict";
// The frequency as mnbatch/review/estimate.py has it, so that it moves as one reviews; tests hold both together.
mnbatch.estimate = (() => {
  const logFactorial = [0];
  function logF(n) {
    for (let i = logFactorial.length; i <= n; i++) logFactorial[i] = logFactorial[i - 1] + Math.log(i);
    return logFactorial[n];
  }
  const logChoose = (n, k) => logF(n) - logF(k) - logF(n - k);

  function atMost(found, size, total, looked) {
    let sum = 0;
    const all = logChoose(size, looked);
    for (let k = Math.max(0, looked - (size - total)); k <= Math.min(found, total, looked); k++) {
      sum += Math.exp(logChoose(total, k) + logChoose(size - total, looked - k) - all);
    }
    return Math.min(1, sum);
  }

  function first(low, high, holds) {
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (holds(middle)) high = middle; else low = middle + 1;
    }
    return low;
  }

  function limits(found, looked, size) {
    const lowest = found, highest = size - (looked - found);
    const low = first(lowest, highest, (total) => 1 - atMost(found - 1, size, total, looked) > 0.025);
    const above = first(lowest, highest + 1, (total) => atMost(found, size, total, looked) <= 0.025);
    return [low, Math.max(above - 1, low)];
  }

  function add(parts) {
    let point = 0, below = 0, above = 0;
    for (const [p, low, high] of parts) { point += p; below += (p - low) ** 2; above += (high - p) ** 2; }
    return [point, point - Math.sqrt(below), point + Math.sqrt(above)];
  }

  // Tallies of the page's slides: size, looked, mn, unsure, not_scorable of each stratum that has cells.
  function tallies(decision) {
    const found = [];
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells) continue;
      const strata = slide.sizes.map((size, s) => ({ size, drawn: 0, looked: 0, mn: 0, unsure: 0, not_scorable: 0, called: s === 0, s }));
      slide.drawn ??= slide.cells.filter((cell) => strata[cell.stratum]);
      for (const cell of slide.drawn) {
        const tally = strata[cell.stratum];
        tally.drawn++;
        const said = decision(cell);
        if (!said) continue;
        tally.looked++;
        if (said.d !== "not_mn") tally[said.d]++;
      }
      found.push(...strata.filter((tally) => tally.size));
    }
    return found;
  }

  function frequency(strata) {
    if (!strata.length || strata.some((t) => !t.looked)) return null;
    const mn = add(strata.map((t) => [
      t.size * (t.mn + (t.called ? t.unsure : 0)) / t.looked,
      limits(t.mn, t.looked, t.size)[0], limits(t.mn + t.unsure, t.looked, t.size)[1]]));
    const scorable = add(strata.map((t) => {
      const number = t.looked - t.not_scorable;
      return [t.size * number / t.looked, ...limits(number, t.looked, t.size)];
    }));
    if (scorable[0] <= 0) return null;
    return {
      per1000: 1000 * mn[0] / scorable[0], low: 1000 * Math.max(0, mn[1] / scorable[2]),
      high: scorable[1] > 0 ? 1000 * Math.min(1, mn[2] / scorable[1]) : 1000,
    };
  }

  return { tallies, frequency, limits };
})();

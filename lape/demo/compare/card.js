(text) => {
  // The columns of a run as a picture: drawn with the browser's own fonts, which have every script it can show.
  if (!text) return;
  const card = JSON.parse(text);
  const [width, margin, gap, size] = [1200, 40, 20, 20];
  const font = (px, weight = 400) => `${weight} ${px}px system-ui, "Noto Sans", sans-serif`;
  const ink = { text: "#1e293b", dim: "#475569", line: "#cbd5e1", on: "#1d4ed8", steered: "#a23b05", other: "#475569" };
  const across = Math.min(card.columns.length, 3);
  const box = (width - 2 * margin - gap * (across - 1)) / across;
  const canvas = document.createElement("canvas");
  const draw = canvas.getContext("2d");

  const wrapped = (said, most, px, weight) => {
    draw.font = font(px, weight);
    const lines = [];
    for (const paragraph of said.split(/\n+/)) {
      let line = "";
      const words = typeof Intl.Segmenter === "function"
        ? [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(paragraph)].map((part) => part.segment)
        : paragraph.split(/(?<=\s)/);
      for (const word of words) {
        if (line && draw.measureText(line + word).width > most) {
          lines.push(line);
          line = word.trimStart();
        } else line += word;
      }
      lines.push(line);
    }
    return lines;
  };
  const rows = [];
  for (let first = 0; first < card.columns.length; first += across) {
    const row = card.columns.slice(first, first + across).map((one) => ({
      ...one, lines: wrapped(one.text, box - 36, size).slice(0, 14),
    }));
    rows.push({ row, height: 110 + 30 * Math.max(...row.map((one) => one.lines.length)) });
  }
  const prompt = wrapped(card.prompt, width - 2 * margin, 26, 600).slice(0, 4);
  canvas.width = width;
  canvas.height = 120 + 36 * prompt.length + rows.reduce((sum, one) => sum + one.height + gap, 0) + 20;

  const write = (said, x, y, most, rtl, px, weight, color) => {
    draw.font = font(px, weight);
    draw.fillStyle = color;
    draw.direction = rtl ? "rtl" : "ltr";
    draw.textAlign = rtl ? "right" : "left";
    draw.fillText(said, rtl ? x + most : x, y);
  };
  draw.fillStyle = "#ffffff";
  draw.fillRect(0, 0, canvas.width, canvas.height);
  write(`${card.heading} · ${card.model}`, margin, 56, width - 2 * margin, false, 20, 400, ink.dim);
  prompt.forEach((line, at) => write(line, margin, 104 + 36 * at, width - 2 * margin, card.rtl, 26, 600, ink.text));
  let top = 100 + 36 * prompt.length;
  for (const { row, height } of rows) {
    row.forEach((one, at) => {
      const left = margin + at * (box + gap);
      const color = one.kind === "on" ? ink.on : one.kind === "steered" ? ink.steered : ink.other;
      draw.strokeStyle = ink.line;
      draw.strokeRect(left, top, box, height);
      draw.fillStyle = color;
      draw.fillRect(left, top, box, 5);
      write(one.title, left + 18, top + 40, box - 36, false, 22, 650, ink.text);
      write(one.told, left + 18, top + 68, box - 36, false, 17, 600, color);
      one.lines.forEach((line, n) => write(line, left + 18, top + 104 + 30 * n, box - 36, one.rtl, size, 400, ink.text));
    });
    top += height + gap;
  }
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "lape-comparison.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

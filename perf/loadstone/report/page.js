"use strict";
// Draws the charts of a page: the library is unpacked once, each chart drawn when it comes near the screen, and all
// of them before printing. Colours are names of CSS variables, looked up when a chart is drawn.
(() => {
  const figures = [...document.querySelectorAll("figure")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hovers = matchMedia("(hover: hover)"); // without, the buttons would stay, over the legend
  const drawn = new Map();      // figure -> its plot
  const zooms = new Map();      // group -> range of x in view, where somebody has zoomed
  const PAPER = 660, HALF = 315; // px that both A4 and Letter have room for

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const looked = (value, key) =>
    Array.isArray(value) ? (typeof value[0] === "object" ? value.map(item => looked(item, key)) : value)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, looked(v, k)]))
    : typeof value === "string" && value.startsWith("--") && /color$/.test(key) ? css(value)
    : value;

  const axis = (own, narrow) => ({
    gridcolor: "--grid", linecolor: "--edge", zerolinecolor: "--edge", tickfont: {color: "--muted"}, automargin: true,
    tickformat: own.type === "category" ? undefined : ",~g", nticks: narrow ? 5 : undefined, ...own,
    title: {...own.title, font: {size: 12, color: "--muted"}, standoff: 10},
  });

  function layout(own, width, group) {
    const narrow = width < 560;
    const made = {
      ...own, width, autosize: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12, color: "--text"},
      hoverlabel: {align: "left", namelength: -1, bgcolor: "--raised", bordercolor: "--edge", font: {color: "--text"}},
      legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)"},
      modebar: {bgcolor: "rgba(0,0,0,0)", color: "--muted", activecolor: "--text"},
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      margin: {...own.margin, ...(narrow ? {l: 44, r: 8} : {})},
      shapes: own.shapes.map(shape => ({...shape, editable: false})),
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) if (own[name]) made[name] = axis(own[name], narrow);
    if (zooms.get(group)) made.xaxis = {...made.xaxis, range: zooms.get(group), autorange: false};
    return looked(made, "");
  }

  function parsed(figure) {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    for (const trace of spec.data)      // a number: the texts of that trace
      if (typeof trace.text === "number") trace.text = spec.data[trace.text].text;
    for (const {error_y: bars} of spec.data)      // null would be a bar of length 0
      for (const side of bars ? ["array", "arrayminus"] : []) bars[side] = bars[side].map(length => length ?? NaN);
    return spec;
  }

  function draw(figure, width) {
    const plot = figure.querySelector(".plot");
    const spec = figure.spec ??= parsed(figure);
    width ??= plot.clientWidth;
    if (!width) return;         // in a closed fold
    Plotly.newPlot(plot, looked(spec.data, ""), layout(spec.layout, width, figure.dataset.group), {
      displaylogo: false, responsive: false, displayModeBar: hovers.matches ? "hover" : false, scrollZoom: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: {filename: figure.id, scale: 2},
    });
    plot.on("plotly_relayout", change => follow(figure, change));
    drawn.set(figure, width);
  }

  let following = false;
  function follow(from, change) {
    const group = from.dataset.group;
    const moved = Object.keys(change).some(key => key.startsWith("xaxis.") && /range/.test(key));
    if (!group || !moved || following) return;
    const {range, autorange} = from.querySelector(".plot").layout.xaxis;
    zooms.set(group, autorange ? null : [...range]);
    following = true;
    const others = [...drawn.keys()].filter(figure => figure !== from && figure.dataset.group === group);
    const update = autorange ? {"xaxis.autorange": true} : {"xaxis.range": [...range]};
    Promise.all(others.map(figure => Plotly.relayout(figure.querySelector(".plot"), update)))
      .finally(() => { following = false; });
  }

  function watch() {
    const near = new IntersectionObserver(seen => {
      for (const {target, isIntersecting} of seen) if (isIntersecting && !drawn.has(target)) draw(target);
    }, {rootMargin: "500px 0px"});
    const sized = new ResizeObserver(seen => {
      for (const {target} of seen) {
        const width = target.querySelector(".plot").clientWidth;
        if (!width || !drawn.has(target) || drawn.get(target) === width || printing) continue;
        drawn.set(target, width);
        Plotly.relayout(target.querySelector(".plot"), {width});
      }
    });
    for (const figure of figures) { near.observe(figure); sized.observe(figure); }
    dark.addEventListener("change", redraw);
  }

  const redraw = () => { for (const figure of drawn.keys()) draw(figure); };

  let printing = false, opened = [];
  function toPaper() {
    if (printing) return;
    printing = true;
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
    document.documentElement.classList.add("paper");
    for (const figure of figures) draw(figure, figure.className === "half" ? HALF : PAPER);
  }
  function toScreen() {
    if (!printing) return;
    printing = false;
    document.documentElement.classList.remove("paper");
    for (const fold of opened) fold.open = false;
    redraw();
  }

  async function unpack() {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), char => char.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    script.remove();
  }

  async function begin() {
    try {
      await unpack();
    } catch (error) {
      document.getElementById("no-charts").hidden = false;
      document.documentElement.dataset.charts = "none";
      return;
    }
    addEventListener("beforeprint", toPaper);
    addEventListener("afterprint", toScreen);
    watch();
    document.documentElement.dataset.charts = "ready";
  }
  begin();
})();

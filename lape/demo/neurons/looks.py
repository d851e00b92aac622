"""The looks of the Neurons tab: cells that one points at, and the page of a neuron."""

CSS = """
.lape-tip { min-height: 3em; margin: .3rem 0 0; font-size: .85rem; line-height: 1.5; color: var(--lape-plain);
  unicode-bidi: plaintext; text-align: start; overflow-wrap: anywhere; }
[data-go] { cursor: pointer; }
[data-tip]:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; position: relative; }
[data-tip]:hover { box-shadow: inset 0 0 0 2px var(--color-accent); }
.lape-colored [data-tip]:not([style]) { background: none; border-color: transparent; color: inherit; }
.lape-scale { display: flex; align-items: center; gap: 1px; margin: .4rem 0 0; font-size: .8rem;
  color: var(--body-text-color-subdued); }
.lape-scale span { width: 1.1rem; height: .7rem;
  background: color-mix(in srgb, var(--lape-source) calc(var(--shade) * 100%), var(--lape-plain-soft)); }
.lape-scale span:first-of-type { margin-inline-start: .4rem; }
.lape-scale span:last-of-type { margin-inline-end: .4rem; }
#lape-neurons-overlap .lape-scale span {
  background: color-mix(in srgb, var(--lape-source) calc(var(--shade) * 45%), var(--lape-plain-soft)); }
#lape-neuron h3 { font-size: .95rem; font-weight: 600; margin: .6rem 0 .3rem; color: var(--body-text-color); }
.lape-chips { display: flex; flex-wrap: wrap; gap: .3rem; margin: 0 0 .4rem; line-height: 1.5; }
.lape-chips b { min-width: 5.5rem; font-weight: 400; color: var(--body-text-color-subdued); }
.lape-chip { padding: .05rem .5rem; border-radius: 8px; white-space: pre; color: var(--lape-plain);
  background: var(--lape-plain-soft); }
a.lape-chip { white-space: normal; unicode-bidi: plaintext;
  color: var(--lape-source) !important; background: var(--lape-source-soft); }
.lape-note { margin: .2rem 0 .6rem; font-size: .85rem; color: var(--body-text-color-subdued); max-width: 62rem; }
.lape-tops, .lape-tops * { border: 0 !important; }
.lape-tops td { padding: .15rem .8rem .15rem 0 !important; vertical-align: top; }
.lape-tops td:first-child { text-align: end; font-variant-numeric: tabular-nums; }
.lape-tops mark { color: var(--lape-source); background: var(--lape-source-soft); border-radius: 3px; }
"""

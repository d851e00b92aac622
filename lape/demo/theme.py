"""The page's looks, in light and dark, wide and narrow; Ctrl+Enter; and menus that are searched by typing."""

from __future__ import annotations

import gradio as gr

from lape.demo.report import REPORT_CSS

FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif")
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    radius_size="lg",
    font=FONT,
).set(  # the theme's own colours are too pale to read
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_100",
    button_large_text_size="*text_md",
    button_large_text_weight="500",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    link_text_color_dark="*primary_300",
    link_text_color_visited_dark="*primary_300",
    link_text_color_hover_dark="*primary_200",
    checkbox_border_color="*neutral_400",
    checkbox_border_color_dark="*neutral_400",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
)
CSS = """
.gradio-container {
  --lape-source: #1d4ed8; --lape-source-soft: #dbeafe;
  --lape-target: #a23b05; --lape-target-soft: #ffe8d6;
  --lape-warn: #b3153c; --lape-warn-soft: #ffe1e8;
  --lape-plain: #475569; --lape-plain-soft: #e8edf3;
}
.dark .gradio-container, .gradio-container.dark {
  --lape-source: #a8c7ff; --lape-source-soft: #1b3263;
  --lape-target: #ffc193; --lape-target-soft: #5a2c0c;
  --lape-warn: #ffb0c2; --lape-warn-soft: #5c1226;
  --lape-plain: #c3cedb; --lape-plain-soft: #2b3648;
}
.gradio-container main { width: 100%; min-width: 0; max-width: 1280px !important; margin: 0 auto !important; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container .column { gap: .75rem; }
.lape-introduction h1 { font-size: 1.35rem; letter-spacing: -0.02em; margin: 0 0 .15rem; }
.lape-introduction p { font-size: .95rem; margin: 0; }
#lape-models { padding-block: .45rem; }
#lape-models > button { font-size: .85rem; color: var(--body-text-color-subdued); text-align: start; }
#lape-models > button > span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
[data-testid="block-info"], .info-text { direction: var(--direction, ltr); }  /* whatever that of what is below */
.lape-footer p { font-size: .8rem; color: var(--body-text-color-subdued); }
.lape-model { display: flex; flex-wrap: wrap; gap: .4rem .5rem; margin: 0; padding: 0; }
.lape-model span { background: var(--lape-plain-soft); color: var(--lape-plain); border-radius: 99px;
  font-size: .8rem; padding: .12rem .65rem; }
.lape-masks { margin: 0; padding: 0; list-style: none; }
.lape-masks li { padding: .6rem 0; border-bottom: 1px solid var(--border-color-primary); line-height: 1.5;
  overflow-wrap: anywhere; }
.lape-card { max-height: 34rem; overflow: auto; border: 1px solid var(--border-color-primary); border-radius: 8px;
  padding: .2rem 1rem; }
.lape-card img { background: #fff; }
.lape-model + .lape-status, .lape-model + .lape-model { margin-top: .5rem; }
.lape-actions { align-items: center !important; flex-wrap: wrap !important; }
.lape-status { color: var(--body-text-color-subdued); margin: 0; min-height: 1.5em; }
[id^="lape-"][id$="status"].block { display: flex; flex-flow: row-reverse wrap; justify-content: flex-end;
  gap: 0 .75rem; }
[id^="lape-"][id$="status"] .html-container { opacity: 1 !important; }  /* gradio makes it pale while it waits */
[id^="lape-"][id$="status"] .wrap.minimal { position: static !important; padding: 0; overflow: visible; }
[id^="lape-"][id$="status"] .progress-text { position: static; transform: none; padding: 0; background: none;
  font: inherit; color: var(--body-text-color-subdued); }  /* the place in the queue */
.lape-failed { color: var(--lape-warn); background: var(--lape-warn-soft); border-radius: 8px; padding: .5rem .8rem; }
.lape-column { border-style: solid; border-width: 4px 1px 1px; border-radius: 12px;
  border-top-color: var(--lape-plain); border-right-color: var(--border-color-primary);
  border-bottom-color: var(--border-color-primary); border-left-color: var(--border-color-primary);
  padding: .9rem !important; background: var(--block-background-fill); gap: .7rem !important; }
.lape-column:has(.lape-on) { border-top-color: var(--lape-source); }
.lape-column:has(.lape-steered) { border-top-color: var(--lape-target); }
.lape-column:has(.lape-residual) { border-top-color: var(--lape-target); }
.lape-column:has(.lape-random) { border-top-style: dashed; }
.lape-head h2 { font-size: 1.1rem; font-weight: 650; line-height: 1.4; margin: 0; color: var(--body-text-color); }
.lape-head p, .lape-facts { font-size: .85rem; line-height: 1.5; margin: 0; color: var(--body-text-color-subdued); }
.lape-columns { display: grid !important; grid-template-columns: repeat(auto-fit, minmax(min(220px, 100%), 1fr)); }
.lape-column { display: grid !important; grid-row: span 3; grid-template-rows: subgrid; }  /* their parts align */
.lape-text { height: 100%; min-height: 9.6rem; max-height: 25.6rem; overflow-y: auto; padding: .6rem .7rem;
  border: 1px solid var(--border-color-primary); border-radius: 8px; background: var(--input-background-fill);
  font-size: 1rem; line-height: 1.6; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--body-text-color); }
[id^="lape-text-"], [id^="lape-text-"] .html-container, [id^="lape-text-"] .prose { height: 100%; }
.lape-empty { color: var(--input-placeholder-color); }
.lape-examples .paginate { font-size: 0; }  /* gradio writes "Pages:" in English */
.lape-examples .paginate button { font-size: var(--text-sm); }
.lape-text mark { border-radius: 4px; padding: 0 .15rem; color: var(--lape-plain); background: var(--lape-plain-soft);
  box-shadow: inset 0 -2px var(--lape-plain); }
.lape-text mark.lape-breaks { color: var(--lape-warn); background: var(--lape-warn-soft);
  box-shadow: inset 0 -2px var(--lape-warn); }
.lape-outdated { margin: 0; padding: .35rem .8rem; border-radius: 8px; font-weight: 600; color: var(--lape-plain);
  background: var(--lape-plain-soft); }
.tabitem:has(.lape-outdated) .lape-columns { opacity: .5; }
#lape-old:not(:has(.lape-outdated)) { display: none; }
.lape-talk { display: flex; flex-direction: column-reverse; height: 20rem; overflow-y: auto; padding: .6rem;
  border: 1px solid var(--border-color-primary); border-radius: 8px; }
.lape-talk > div { margin-bottom: auto; display: flex; flex-direction: column; gap: .6rem; }
.lape-said { margin: 0; padding: .45rem .7rem; border-radius: 10px; line-height: 1.6; white-space: pre-wrap;
  overflow-wrap: anywhere; color: var(--body-text-color); }
.lape-user { background: var(--lape-plain-soft); align-self: flex-end; max-width: 90%; }
.lape-badges { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .6rem; min-height: 1.7rem; }
.lape-badge { border-radius: 99px; font-size: .85rem; font-weight: 600; padding: .12rem .7rem; white-space: nowrap;
  color: var(--lape-plain); background: var(--lape-plain-soft); }
.lape-tone-source { color: var(--lape-source); background: var(--lape-source-soft); }
.lape-tone-target { color: var(--lape-target); background: var(--lape-target-soft); }
.lape-tone-warn { color: var(--lape-warn); background: var(--lape-warn-soft); }
.lape-tone-none { font-weight: 400; }
.lape-table { overflow-x: auto; margin: .4rem 0 .7rem; }
.lape-table table { border-collapse: collapse; font-size: .9rem; }
.lape-table table, .lape-table tr, .lape-table th, .lape-table td { border: 0 !important; }
.lape-table th, .lape-table td { text-align: start; padding-block: .35rem; padding-inline: 0 1.2rem;
  color: var(--body-text-color); }
.lape-table tr { border-bottom: 1px solid var(--border-color-primary) !important; }
.lape-table th { font-weight: 600; color: var(--body-text-color-subdued); }
.lape-progress { width: 100%; height: .5rem; accent-color: var(--color-accent); }
.tab-wrapper { contain: inline-size; }  /* or all tabs side by side would make the page as wide as they are */
.prose h2 { font-size: 1.25rem !important; }
.lape-section h2 { font-size: 1.1rem; margin: .6rem 0 0; }
.lape-how p { font-size: .85rem; color: var(--body-text-color-subdued); max-width: 62rem; }
#lape-look-text textarea, .lape-colored, .lape-tokens .textfield { unicode-bidi: plaintext; text-align: start; }
.lape-colored { margin: .6rem 0 0; font-size: 1rem; line-height: 2rem; white-space: pre-wrap; overflow-wrap: anywhere;
  color: var(--body-text-color); position: relative; }
.lape-colored span { margin-inline-end: 1px; padding: .15rem 0; }
.lape-colored span, .lape-legend span { color: #000; border-radius: 2px;
  background: color-mix(in srgb, var(--token) 50%, var(--block-background-fill));
  border-bottom: 3px var(--line) var(--token); }
.dark :is(.lape-colored, .lape-legend) span { color: #fff; }
.lape-legend { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: 0; padding: 0; list-style: none;
  font-size: .85rem; line-height: 1.6; color: var(--body-text-color); }
.lape-legend span { padding: .05rem .4rem; font-weight: 600; }
.lape-tokens .textfield { display: block !important; word-break: normal !important; overflow-wrap: anywhere;
  line-height: 2rem; font-size: 0; }  /* the spaces between its spans are not of the text */
.lape-tokens .line-break { display: block; }
.lape-tokens .token { margin: 0 !important; margin-inline-end: 1px !important; padding: 0 !important; }
.lape-tokens .text { font-size: 1rem; background-color: inherit; padding: .15rem 0; border-radius: 2px; }
#lape-neuron-samples .token { margin: 0 !important; }
#lape-neurons-table { contain: inline-size; }  /* or the table would make the page as wide as it is */
.dark .lape-tokens .token.highlighted { color: #fff !important; }
.lape-caption, .lape-activity caption { font-size: .9rem; font-weight: 600; margin: 0 0 .5rem;
  text-align: start; color: var(--body-text-color); }
.lape-layers { display: grid; grid-template-columns: max-content 1fr max-content; gap: 3px .6rem; align-items: center;
  font-size: .8rem; color: var(--body-text-color); }
.lape-cells { display: flex; height: 1.15rem; background: var(--lape-plain-soft); }
.lape-cells span { flex: 1; margin-inline-end: 1px; }
.lape-cells span[style] { background: color-mix(in srgb, var(--lape-source) calc(var(--shade) * 100%), transparent); }
#lape-look-colored .html-container { margin-top: 2.2rem; padding: 0 .8rem .8rem !important; }
.lape-layers [data-begin] { margin-top: .4rem; }
.lape-sum { text-align: end; font-variant-numeric: tabular-nums; }
.lape-axis { display: flex; justify-content: space-between; color: var(--body-text-color-subdued); }
.lape-overlap, .lape-activity { border-collapse: collapse; width: 100%; margin: 0; font-size: .8rem;
  color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.lape-overlap { table-layout: fixed; min-width: calc(var(--name) + 1.75rem * var(--columns)); --name: 6.5rem; }
.lape-overlap thead td { width: var(--name); }
.lape-overlap th b { display: none; font-weight: 400; }  /* the code takes the place of the name on a phone */
.lape-overlap th[scope=row] { position: sticky; inset-inline-start: 0; text-align: start !important;
  white-space: nowrap; background: var(--body-background-fill); }
.lape-overlap tr[data-begin] > * { border-top: 4px solid var(--body-background-fill) !important; }
.lape-overlap [data-begin]:is(th, td) { border-inline-start: 4px solid var(--body-background-fill) !important; }
.lape-scroll { overflow-x: auto; contain: inline-size; }
.row:has(.lape-many) { flex-direction: column; }
.row:has(.lape-many) > * { width: 100%; }
.lape-overlap, .lape-overlap *, .lape-activity, .lape-activity * { border: 0 !important; }
.lape-overlap th, .lape-overlap td { padding: 0 !important; height: 1.5rem; text-align: center; font-weight: 400; }
.lape-overlap tbody td { border: 1px solid var(--body-background-fill) !important;
  background: color-mix(in srgb, var(--lape-source) calc(var(--shade, 0) * 45%), var(--lape-plain-soft)); }
.lape-overlap tbody td.lape-own { background: transparent; }
.lape-activity th, .lape-activity td { padding: .1rem .3rem !important; text-align: end; font-weight: 400; }
.lape-activity th:first-child { text-align: start !important; white-space: nowrap; }
.lape-activity thead th { color: var(--body-text-color-subdued); }
.lape-activity td:nth-child(2) { width: 50%; }
.lape-bar { display: block; height: .8rem; background: var(--lape-plain-soft); }
.lape-bar span { display: block; height: 100%; background: var(--lape-source); }
.lape-figures .wide { overflow-x: auto; margin-bottom: .8rem; }
.lape-figures table { border-collapse: collapse; margin: 0; }
.lape-figures :is(table, tr) { border: 0 !important; }
.lape-figures caption { text-align: start; font-weight: 600; margin: 0 0 .3rem; white-space: nowrap; }
.lape-figures :is(th, td) { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: .3rem .9rem; }
.lape-figures th:first-child { padding-inline-start: 0; font-weight: 400; text-align: start; }
.lape-figures .figure { text-align: end; font-variant-numeric: tabular-nums; }
.lape-figures .strong > * { font-weight: 600 !important; }
.lape-figures figure { margin: 0; }
.lape-figures figcaption { color: var(--body-text-color-subdued); font-size: .85rem; }
.lape-figures svg { max-width: none; display: block; }
.lape-figures text { fill: var(--body-text-color); font-size: 12px; }
.lape-figures .dim { fill: var(--body-text-color-subdued); }
.lape-figures .end { text-anchor: end; }
.lape-figures .mid { text-anchor: middle; }
.lape-figures .grid { stroke: var(--border-color-primary); }
.lape-figures .series0 { fill: var(--lape-plain); }
.lape-figures .series1 { fill: var(--lape-source); }
.lape-figures .series2 { fill: var(--lape-target); }
.lape-stacks > div { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
.lape-stacks figure { margin: 0; flex: 1 1 18rem; min-width: 0; max-width: 26rem; }
.lape-stacks figcaption { font-size: .85rem; line-height: 1.5; color: var(--body-text-color); }
.lape-stacks figure svg { display: block; width: 100%; height: auto; }
.lape-stacks text { fill: var(--body-text-color-subdued); font-size: 12px; }
.lape-stacks .end { text-anchor: end; }
.lape-stacks .mid { text-anchor: middle; }
.lape-stacks .grid { stroke: var(--border-color-primary); }
.lape-stacks .none { fill: transparent; }
.lape-stacks .mark { stroke: var(--body-text-color); stroke-dasharray: 4 3; fill: none; }
.lape-stacks .others { fill: var(--lape-plain); opacity: .3; }
.lape-stacks .share0 { fill: var(--lape-source); }
.lape-stacks .share1 { fill: var(--lape-target); }
.lape-stacks .share2 { fill: #0d9488; }
.lape-stacks .share3 { fill: #9333ea; }
.lape-stacks .share4 { fill: #ca8a04; }
.lape-stacks .share5 { fill: #be185d; }
.dark .lape-stacks .share2 { fill: #5eead4; }
.dark .lape-stacks .share3 { fill: #d8b4fe; }
.dark .lape-stacks .share4 { fill: #fde047; }
.dark .lape-stacks .share5 { fill: #f9a8d4; }
.lape-key { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: 0 0 .6rem; padding: 0; list-style: none;
  font-size: .85rem; color: var(--body-text-color); }
.lape-key svg { width: .75rem; height: .75rem; margin-inline-end: .35rem; display: inline-block; }
:is(#lape-layers-drawn, #lape-tokens-drawn) summary { cursor: pointer; font-size: .85rem; padding: .25rem 0;
  color: var(--body-text-color-subdued); }
#lape-tokens-drawn h3 { margin: 1rem 0 .2rem; }
.lape-costs { font-size: 1rem; line-height: 2rem; margin: .3rem 0 .5rem; white-space: pre-wrap; position: relative;
  overflow-wrap: anywhere; color: var(--body-text-color); unicode-bidi: plaintext; }
.lape-token { padding: .15rem 0; margin-inline-end: 1px; border-radius: 2px; color: var(--body-text-color);
  background: color-mix(in srgb, var(--cost) var(--share), transparent); }
.lape-facts .lape-token { padding: .1rem .4rem; }
.lape-costs span:hover::after { content: attr(title); position: absolute; inset: auto 0 100% auto; z-index: 1;
  padding: .2rem .6rem; border-radius: 6px; font-size: .85rem; line-height: 1.5; white-space: pre-wrap;
  color: var(--lape-plain); background: var(--lape-plain-soft); }
.dark input[type="range"] { --neutral-200: var(--neutral-600); }
@media (max-width: 640px) {
  .lape-more .form { flex-direction: column; }
  footer .divider { display: none; }  /* gradio hides what is before it, but not the dot */
  #lape-evidence table { min-width: 42rem; }  /* it scrolls in its place */
  .lape-overlap { --name: 2rem; min-width: calc(var(--name) + 1.5rem * var(--columns)); }
  .lape-overlap th b { display: inline; }
  .lape-overlap th span { display: none; }
  #lape-live-languages .wrap { gap: .3rem; }
  #lape-live-languages .wrap label { padding: .25rem .5rem; font-size: .85rem; }
  #lape-generate { flex-grow: 2; }
  #lape-stop { flex-grow: 1; }
  .lape-introduction h1 { font-size: 1.15rem; }
  .lape-introduction p { font-size: .85rem; line-height: 1.35; }
  .lape-controls .info-text { display: none; }
  .lape-controls { display: contents !important; }  /* the texts come between the prompt and the menus */
  .lape-controls > .column:first-child { order: -3; }
  #lape-status, #lape-old { order: -2; }
  .lape-columns { order: -1; }
  #lape-status .lape-status { font-size: .85rem; }
  .lape-run { position: fixed; inset: auto 0 0; z-index: 50; padding: .5rem 1rem !important; margin: 0 !important;
    background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }
  .gradio-container main { padding-bottom: 5rem; }
  .lape-columns { display: flex !important; flex-wrap: nowrap !important; overflow-x: auto;
    scroll-snap-type: x mandatory; contain: inline-size; }
  .lape-columns .lape-column { flex: 0 0 82% !important; min-width: 0 !important; scroll-snap-align: center;
    grid-template-rows: max-content max-content 1fr; }
  .lape-actions > .block { flex-basis: 100%; }
  .lape-table th, .lape-table td { padding-inline-end: .7rem; }
}
"""
CSS += REPORT_CSS
KEYS = """<script>
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#lape-prompt")) {
    event.preventDefault();
    document.querySelector("#lape-generate")?.click();
  }
});
document.addEventListener("focusin", ({ target }) => {
  // What is typed into a menu takes the place of the choice, and searches; gradio would add it to the choice.
  if (target.matches("input[role=combobox]")) setTimeout(() => target.select());
});
</script>"""

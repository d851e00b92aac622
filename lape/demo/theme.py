"""The page's looks, in light and dark, wide and narrow; and Ctrl+Enter."""

from __future__ import annotations

import gradio as gr

FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif")
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    radius_size="lg",
    font=FONT,
).set(  # the theme's own greys are too pale to read
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_100",
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
.gradio-container main { max-width: 1280px !important; margin: 0 auto !important; }
.gradio-container .html-container { padding: 0 !important; }
.lape-introduction h1 { font-size: 1.7rem; letter-spacing: -0.02em; margin: 0 0 .35rem; }
.lape-introduction p { font-size: 1rem; max-width: 62rem; }
.lape-model { display: flex; flex-wrap: wrap; gap: .4rem .5rem; margin: 0; padding: 0; }
.lape-model span { background: var(--lape-plain-soft); color: var(--lape-plain); border-radius: 99px;
  font-size: .8rem; padding: .12rem .65rem; }
.lape-masks { margin: 0; padding: 0; list-style: none; }
.lape-masks li { padding: .6rem 0; border-bottom: 1px solid var(--border-color-primary); line-height: 1.5;
  overflow-wrap: anywhere; }
.lape-model + .lape-status, .lape-model + .lape-model { margin-top: .5rem; }
.lape-actions { align-items: center !important; flex-wrap: wrap !important; }
.lape-status { color: var(--body-text-color-subdued); margin: 0; min-height: 1.5em; }
.lape-failed { color: var(--lape-warn); background: var(--lape-warn-soft); border-radius: 8px; padding: .5rem .8rem; }
.lape-column { border-style: solid; border-width: 4px 1px 1px; border-radius: 12px;
  border-top-color: var(--lape-plain); border-right-color: var(--border-color-primary);
  border-bottom-color: var(--border-color-primary); border-left-color: var(--border-color-primary);
  padding: .9rem !important; background: var(--block-background-fill); gap: .7rem !important; }
.lape-column:has(.lape-on) { border-top-color: var(--lape-source); }
.lape-column:has(.lape-steered) { border-top-color: var(--lape-target); }
.lape-column:has(.lape-random) { border-top-style: dashed; }
.lape-head h2 { font-size: 1.1rem; font-weight: 650; line-height: 1.4; margin: 0; color: var(--body-text-color); }
.lape-head p, .lape-facts { font-size: .85rem; line-height: 1.5; margin: 0; color: var(--body-text-color-subdued); }
.lape-column > .block { flex-grow: 0 !important; }
.lape-text textarea { overflow-y: auto !important; font-size: 1rem !important; line-height: 1.6 !important; }
.lape-talk { display: flex; flex-direction: column-reverse; height: 20rem; overflow-y: auto; padding: .6rem;
  border: 1px solid var(--border-color-primary); border-radius: 8px; }
.lape-talk > div { margin-bottom: auto; display: flex; flex-direction: column; gap: .6rem; }
.lape-said { margin: 0; padding: .45rem .7rem; border-radius: 10px; line-height: 1.6; white-space: pre-wrap;
  overflow-wrap: anywhere; color: var(--body-text-color); }
.lape-user { background: var(--lape-plain-soft); align-self: flex-end; max-width: 90%; }
.lape-difference { margin: .4rem 0 0; font-size: .85rem; line-height: 1.6; overflow-wrap: anywhere;
  color: var(--body-text-color); }
.lape-difference mark { color: var(--lape-plain); background: var(--lape-plain-soft); border-radius: 4px;
  padding: 0 .15rem; font-weight: 600; }
.lape-badges { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .6rem; min-height: 1.7rem; }
.lape-badge { border-radius: 99px; font-size: .85rem; font-weight: 600; padding: .12rem .7rem; white-space: nowrap;
  color: var(--lape-plain); background: var(--lape-plain-soft); }
.lape-tone-source { color: var(--lape-source); background: var(--lape-source-soft); }
.lape-tone-target { color: var(--lape-target); background: var(--lape-target-soft); }
.lape-tone-warn { color: var(--lape-warn); background: var(--lape-warn-soft); }
.lape-tone-none { font-weight: 400; }
@media (min-width: 900px) { .lape-head p { min-height: 3em; } }
@media (max-width: 640px) {
  #lape-generate { flex-grow: 2; }
  #lape-stop { flex-grow: 1; }
  .lape-actions > .block { flex-basis: 100%; }
}
"""
KEYS = """<script>
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#lape-prompt")) {
    event.preventDefault();
    document.querySelector("#lape-generate")?.click();
  }
});
</script>"""

"""The address of a neuron, in the browser: a page opened with one shows it, and the address follows the one shown."""

from __future__ import annotations

TAB = "neurons"  # id of the tab
# Has the neuron run that an address names. gradio's own way to select a tab fails where a tab has tabs of its own; and
# a page that opens without a neuron takes no turn of the model.
OPEN = f"""async () => {{
  if (!new URLSearchParams(location.search).has("neuron")) return;
  document.querySelector("[data-tab-id={TAB}]")?.click();
  for (let waits = 0; waits < 600; waits++) {{
    if (document.querySelector("#lape-neuron-links a")) {{
      document.querySelector("#lape-neuron-run").click();
      return;
    }}
    await new Promise((drawn) => setTimeout(drawn, 50));
  }}
}}"""
# Writes the address of the neuron on show, and brings that into sight.
TO_IT = """async () => {
  await new Promise((drawn) => setTimeout(drawn, 100));
  const link = document.querySelector("#lape-neuron-links a");
  if (!link) return;
  const looks = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith("__"));
  const query = new URLSearchParams([...looks, ...new URLSearchParams(link.getAttribute("href"))]);
  history.replaceState(null, "", "?" + query);
  document.querySelector("#lape-neuron").scrollIntoView({ block: "start" });
}"""

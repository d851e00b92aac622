"""Runs in the environment that has vLLM: records and steers a model, and writes what came out.

    python in_vllm.py TASK.json

The task has `folder` (the model's), `model`, `revision`, `settings` of vLLM, `corpora`, `record` (settings), `mask`
(its folder), `plans` (name to settings of an intervention), `rows` (prompt as token ids, name of a plan or null),
`tokens` (to generate) and `out`. There it writes statistics.safetensors, groups.safetensors and texts.json: the token
ids of each row in one batch (`mixed`), and of each row alone (`alone`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from vllm import LLM, SamplingParams

from lape import Intervention, NeuronMask
from lape.recording.record import record_groups
from lape.serving.engine import ENGINE_SETTINGS, Engine


def main(task: dict[str, Any]) -> None:
    out = Path(task["out"])
    llm = LLM(task["folder"], **{**task["settings"], **ENGINE_SETTINGS})
    engine = Engine.of(llm, model=task["model"], revision=task["revision"])
    tokenizer = AutoTokenizer.from_pretrained(task["folder"])
    statistics, groups = record_groups(engine, tokenizer, task["corpora"], **task["record"], progress=False)
    statistics.save(out / "statistics.safetensors")
    groups.save(out / "groups.safetensors")

    mask = NeuronMask.load(task["mask"])
    plans = {name: Intervention(mask, **settings) for name, settings in task["plans"].items()}
    prompts = [{"prompt_token_ids": ids} for ids, _ in task["rows"]]
    asked = [
        SamplingParams(temperature=0, max_tokens=task["tokens"], extra_args=plan and {"lape": plan})
        for _, plan in task["rows"]
    ]
    with engine.steering(plans):
        mixed = llm.generate(prompts, asked, use_tqdm=False)
        alone = [llm.generate([prompt], [one], use_tqdm=False)[0] for prompt, one in zip(prompts, asked, strict=True)]
    texts = {
        name: [list(each.outputs[0].token_ids) for each in found]
        for name, found in (("mixed", mixed), ("alone", alone))
    }
    (out / "texts.json").write_text(json.dumps(texts))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))

"""What does switching a language off cost in lm-evaluation-harness? Any of its tasks, before and after.

    pip install "lape[lm-eval]"
    python examples/lm_eval_harness.py --tasks xnli_fr,xnli_de --off fr --limit 200
    python examples/lm_eval_harness.py --tasks mine --include folder/with/mine.yaml --off fr --on es

The harness is not changed and knows nothing of neurons: `lape.intervene` switches them on the plain transformers model
that its own wrapper, HFLM, holds. Its tasks fetch their data from the Hugging Face Hub, unless a YAML file of your own
names local files.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import lape
from lape.generation.settings import STRENGTH


def main() -> None:
    """Evaluates the tasks twice and prints both scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", required=True, help="names, separated by commas")
    parser.add_argument("--include", help="folder with YAML files of your own tasks")
    parser.add_argument("--limit", type=int, help="at most so many examples of each task")
    parser.add_argument("--model", help="Hub id, folder or preset (default: the embedded one)")
    parser.add_argument("--mask", help="folder with mask.safetensors (default: the model's bundled one)")
    parser.add_argument("--off", help="languages to switch off, such as fr")
    parser.add_argument("--on", help="language to steer to")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="of steering (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: %(default)s)")
    options = parser.parse_args()
    if not (options.off or options.on):
        parser.error("say what to switch: --off, --on or both")
    mask = lape.NeuronMask.load(options.mask) if options.mask else lape.NeuronMask.from_pretrained(model=options.model)
    off = options.off.split(",") if options.off else []
    plan = lape.Intervention(mask, off=off, on=options.on, strength=options.strength)
    model, tokenizer = lape.load_model(options.model)
    before, after = evaluate(model, tokenizer, plan, options)
    print(json.dumps({"neurons_changed": plan.count, "before": before, "after": after}, indent=1))


def evaluate(
    model: Any, tokenizer: Any, plan: lape.Intervention, options: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """The harness's figures by task, with the neurons as they are and under an intervention."""
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=options.batch_size)
    tasks = TaskManager(include_path=options.include)

    def run() -> dict[str, dict[str, float]]:
        found = simple_evaluate(harness, tasks=options.tasks.split(","), task_manager=tasks, limit=options.limit)
        figures = found["results"].items()
        return {task: {name: value for name, value in row.items() if type(value) is float} for task, row in figures}

    before = run()
    with lape.intervene(model, plan):
        return before, run()


if __name__ == "__main__":
    main()

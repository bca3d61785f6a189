"""`mer-bench validate | test | predict`: what a checkpoint says, without training and without a record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench import recipes
from mer_bench.cli import options as cli_options
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.runs import plan

if TYPE_CHECKING:
    from mer_bench.cli.lightning import Command
    from mer_bench.cli.options import Options


def main(argv: list[str]) -> int:
    """Run the command that `argv` starts with."""
    command, *rest = argv
    options = cli_options.parse(command, rest)
    if options is None:
        return 0
    if options.help_all:
        from mer_bench.cli.fit import help_all

        return help_all()
    register(options.trust)
    recipe = recipes.resolve(options.configs, options.overrides)
    recipes.refuse_foreign_classes(recipe.settings, options.trust)
    if not options.ckpt_path:
        raise UserError(f"mer-bench {command}: --ckpt_path FILE is needed; `fit` leaves best.ckpt in its run folder")
    runs = plan(recipe, options.runs)
    if len(runs) > 1:
        raise UserError(
            f"mer-bench {command}: {recipe.method} takes one modality and {len(runs)} are offered; "
            f"use --data.modalities '[{runs[0].modalities[0]}]'"
        )
    evaluate(command, restored(runs[0].recipe, options), options)
    return 0


def restored(recipe: recipes.Recipe, options: Options) -> Command:
    """Module, datamodule and trainer with the weights of the checkpoint.

    Raises:
        UserError: the checkpoint is missing, damaged, or of another method or other input sizes.
    """
    from mer_bench.cli.lightning import instantiate
    from mer_bench.training.checkpoints import load

    command = instantiate(recipe, trusted=options.trust)
    weights = load(options.ckpt_path)["state_dict"]
    try:
        command.model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:30])
        raise UserError(f"{options.ckpt_path}: its weights do not fit these settings ({reason} ...)") from None
    return command


def evaluate(name: str, command: Command, options: Options) -> None:
    """Do it and print what came out."""
    from mer_bench.cli.lightning import quiet

    with quiet():
        if name == "validate":
            protocol = command.datamodule.protocol
            if protocol.selection == "fixed":
                raise UserError(f"mer-bench validate: {protocol.name} has no validation part; its test part is `test`")
            command.trainer.validate(command.model, command.datamodule, verbose=False)
            for metric, value in command.trainer.callback_metrics.items():
                if metric != "val/selection":
                    print(f"{metric} {float(value):.4f}")
        elif name == "test":
            from mer_bench.cli.scoring import score_all

            for condition, metrics in score_all(command).items():
                print(condition, *(f"{metric} {value:.4f}" for metric, value in metrics.items()))
        else:
            command.trainer.predict(command.model, command.datamodule, return_predictions=False)
            print(write(command, options))


def write(command: Command, options: Options) -> Path:
    """Write the outputs of every item."""
    from mer_bench.cli.scoring import layout
    from mer_bench.results.record import write_predictions

    if not options.out:
        raise UserError("mer-bench predict: --out FILE.npz is needed")
    outputs = command.model.predictions["full"]
    _, ids, lengths = layout(command)
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_predictions(path, ids, {f"full/{task}": outputs[task] for task in command.model.tasks}, lengths)
    print(f"{len(ids)} items", file=sys.stderr)
    return path

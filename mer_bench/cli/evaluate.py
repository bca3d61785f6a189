"""`mer-bench validate | test | predict`: what a checkpoint says, without training and without a record."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench import recipes
from mer_bench.cli import options as cli_options
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.runs import Run, plan

if TYPE_CHECKING:
    from mer_bench.cli.lightning import Command
    from mer_bench.cli.options import Options

#: the name of a run's folder
_KEY = re.compile("[0-9a-f]{16}")


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
    if command != "predict":  # it scores nothing
        refuse_other_run(runs[0], Path(options.ckpt_path))
    evaluate(command, restored(runs[0].recipe, options), options)
    return 0


def refuse_other_run(run: Run, checkpoint: Path) -> None:
    """Score a checkpoint that lies in the folder of a run as that run only: other folds test what it was trained on.

    Raises:
        UserError: it lies in the folder of another run.
    """
    folder = checkpoint.absolute().parent
    there = folder.parent
    if folder.name != "checkpoints" or not _KEY.fullmatch(there.name):
        print(
            f"{checkpoint}: not in the folder of a run, so the fold that it was trained for is unknown; see that it "
            f"is fold {run.fold} of {run.protocol.name}, or these scores mean nothing",
            file=sys.stderr,
        )
        return
    if there.name == run.key[:16]:
        return
    told = ""
    if (there / "config.yaml").is_file():
        written = recipes.load_yaml(there / "config.yaml")
        data = written.get("data", {}).get("init_args", {})
        told = f" ({data.get('protocol')} fold {data.get('fold')} seed {written.get('seed_everything')})"
    raise UserError(
        f"{checkpoint}: the checkpoint of another run{told}, asked for is {run.label}; what that was trained on may be "
        "in this test part. Give every option that it was trained with, such as --data.fold N --seed N "
        "--trainer.max_epochs N; config.yaml beside it has them"
    )


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

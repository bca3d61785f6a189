"""mer-bench: train, compare and rank fusion methods for multimodal emotion recognition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_bench.data.datamodule import MERDataModule
    from mer_bench.module import FusionModule

__version__ = "0.1.0"


def build(*names: str, **settings: Any) -> tuple[FusionModule, MERDataModule]:
    """The LightningModule and the datamodule that a config name means, ready for a Trainer of your own.

    >>> module, data = build("iemocap_foal", **{"data.modalities": ["audio", "text"]})  # doctest: +SKIP
    >>> lightning.pytorch.Trainer(max_epochs=5).fit(module, data)  # doctest: +SKIP

    Args:
        names: what ``fit --config`` takes: ``<dataset>_<method>``, or YAML files, later ones on top.
        settings: dotted settings, as on the command line.

    Raises:
        mer_bench.errors.UserError: as the command would say it.
    """
    from mer_bench import recipes
    from mer_bench.cli.lightning import instantiate

    recipe = recipes.resolve(names, ((key, recipes.to_text(value)) for key, value in settings.items()))
    command = instantiate(recipe)
    return command.model, command.datamodule

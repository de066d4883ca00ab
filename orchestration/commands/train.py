"""``serval train``: a recipe and a manifest to a model."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.scoring_options import add_transcripts_option
from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestration.ensemble_training import EnsembleSummary
    from orchestration.training import SeriesSummary
    from orchestration.training_record import TrainSummary

HELP = "train a model on the train split of a manifest, keep the best on dev, register it"
HIDDEN_METRICS = ("selection", "concordance_cc", "loss")
"""In the JSON summary alone: the others say it in more detail."""

EXAMPLE = "serval train demo --manifest manifest.csv --output model --name demo --set seed=1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="one of --list")
    parser.add_argument("--manifest", metavar="M", help="segments with truth and speaker_id")
    parser.add_argument("--output", metavar="DIR", help="folder of the model")
    parser.add_argument(
        "--target",
        choices=("dimensions", "emotion"),
        help="truth to learn (default: what the recipe says)",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="register the model in MLflow, with the alias candidate"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a field of the recipe: --set optimiser.learning_rate=0.001",
    )
    parser.add_argument(
        "--truth-range",
        default="0:1",
        metavar="LOW:HIGH",
        help="scale of arousal, dominance, valence in M (default: %(default)s)",
    )
    parser.add_argument(
        "--devices",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="what to train on (default: a GPU where there is one)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that train together, each on a core or a GPU (default: %(default)s)",
    )
    add_transcripts_option(parser)
    parser.add_argument("--list", action="store_true", help="print the recipes, one a line")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved recipe")


def run(args: argparse.Namespace) -> Summary:
    """Train, or print recipes."""
    if args.list:
        return _list_recipes()
    from ser_model.schema import ConfigError

    if args.recipe is None:
        raise ConfigError("serval train needs a RECIPE; serval train --list prints them")
    if args.dry_run:
        return _show_recipe(args)
    if args.manifest is None or args.output is None:
        raise ConfigError("serval train needs --manifest M and --output DIR")
    from orchestration.ensemble_training import train_ensemble
    from orchestration.training import train_recipe
    from ser_model.manifest import parse_truth_range
    from ser_model.training.ensemble_recipe import list_ensemble_recipes

    train = train_ensemble if args.recipe in list_ensemble_recipes() else train_recipe
    summary = train(
        args.recipe,
        args.manifest,
        args.output,
        target=args.target,
        name=args.name,
        overrides=args.overrides,
        truth_range=parse_truth_range(args.truth_range),
        devices=args.devices,
        num_workers=args.workers,
        transcripts_uri=args.transcripts,
    )
    return Summary(text=_text(summary), data=dataclasses.asdict(summary))


def _list_recipes() -> Summary:
    from ser_model.training.ensemble_recipe import list_ensemble_recipes, load_ensemble_recipe
    from ser_model.training.recipe import list_recipes, load_recipe

    recipes = {
        **{name: load_recipe(name).description for name in list_recipes()},
        **{name: load_ensemble_recipe(name)[0].description for name in list_ensemble_recipes()},
    }
    recipes = dict(sorted(recipes.items()))
    width = max(map(len, recipes))
    lines = [f"{name:<{width}}  {description}" for name, description in recipes.items()]
    return Summary(text="\n".join(lines), data={"recipes": recipes})


def _show_recipe(args: argparse.Namespace) -> Summary:
    from orchestration.training import all_overrides
    from ser_model.training.checkpoint import to_json
    from ser_model.training.ensemble_recipe import list_ensemble_recipes, load_ensemble_recipe
    from ser_model.training.recipe import load_recipe, to_mapping

    overrides = all_overrides(args.target, args.overrides)
    if args.recipe in list_ensemble_recipes():
        recipe = to_json(dataclasses.asdict(load_ensemble_recipe(args.recipe, overrides)[0]))
        original = to_json(dataclasses.asdict(load_ensemble_recipe(args.recipe)[0]))
    else:
        recipe = to_json(to_mapping(load_recipe(args.recipe, overrides)))
        original = to_json(to_mapping(load_recipe(args.recipe)))
    overridden = {override.partition("=")[0] for override in overrides}
    return Summary(
        text="\n".join(_yaml_lines(recipe, original, overridden)),
        data={"recipe": recipe, "overrides": list(overrides)},
    )


def _yaml_lines(
    recipe: Mapping[str, object], original: object, overridden: set[str], path: str = ""
) -> Iterator[str]:
    """Yield a recipe as YAML; what an override has set says so, and what it was before."""
    import yaml

    indent = "  " * path.count(".")
    for name, value in recipe.items():
        before = original.get(name) if isinstance(original, dict) else None
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, before, overridden, f"{path}{name}.")
            continue
        shown, was = (
            yaml.safe_dump(item, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            for item in (value, before)
        )
        mark = f"  # overridden, was {was}" if f"{path}{name}" in overridden else ""
        yield f"{indent}{name}: {shown}{mark}"


def _text(summary: TrainSummary | SeriesSummary | EnsembleSummary) -> str:
    from orchestration.ensemble_training import EnsembleSummary
    from orchestration.training_record import TrainSummary

    if isinstance(summary, EnsembleSummary):
        lines = [
            *map(_text, summary.trainings),
            f"ensemble: {summary.output}, a {summary.vote} vote "
            f"(sha256 {summary.weights_sha256[:12]})",
        ]
        if summary.model_uri is not None:
            lines.append(f"registered: {summary.model_uri}")
        return "\n".join(lines)
    return _training_text(summary) if isinstance(summary, TrainSummary) else _series_text(summary)


def _training_text(summary: TrainSummary) -> str:
    splits = ", ".join(f"{split} {number}" for split, number in summary.num_segments.items())
    lines = [
        f"{'was trained already' if summary.resumed else 'trained'}: recipe {summary.recipe}, "
        f"{summary.task}, segments {splits}",
        f"{summary.num_rejected} segments rejected, {summary.num_without_truth} without truth",
        f"best of {summary.num_epochs} epochs: {summary.best_epoch}; on dev {_values(summary.dev)}",
    ]
    if summary.test is not None:
        lines.append(f"on test {_values(summary.test)}")
    lines.append(f"model: {summary.output} (sha256 {summary.weights_sha256[:12]})")
    if summary.model_uri is not None:
        lines.append(f"registered: {summary.model_uri}")
    return "\n".join(lines)


def _series_text(summary: SeriesSummary) -> str:
    lines = [f"trained: recipe {summary.recipe}, {summary.task}, {len(summary.trainings)} times"]
    for training in summary.trainings:
        on_test = "" if training.test is None else f"; on test {_values(training.test)}"
        lines.append(f"  {training.output}: on dev {_values(training.dev)}{on_test}")
    groups = {"dev": summary.dev, "test": summary.test, "all folds together": summary.pooled}
    for group, metrics in groups.items():
        for metric, value in (metrics or {}).items():
            if metric not in HIDDEN_METRICS:
                std = "" if value["std"] is None else f" +- {_shown(value['std'])}"
                lines.append(f"{group}: {metric} {_shown(value['mean'])}{std}")
    if summary.model_uri is not None:
        lines.append(f"registered, best on dev: {summary.model_uri} ({summary.best})")
    return "\n".join(lines)


def _values(metrics: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{metric} {_shown(value)}"
        for metric, value in metrics.items()
        if metric not in HIDDEN_METRICS
    )


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"

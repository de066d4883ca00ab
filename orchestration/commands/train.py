"""``serval train``: a recipe and a manifest to a model."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.training import TrainSummary

HELP = "train a model on the train split of a manifest, keep the best on dev, register it"
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
    from orchestration.training import train_recipe
    from ser_model.manifest import parse_truth_range

    summary = train_recipe(
        args.recipe,
        args.manifest,
        args.output,
        target=args.target,
        name=args.name,
        overrides=args.overrides,
        truth_range=parse_truth_range(args.truth_range),
    )
    return Summary(text=_text(summary), data=dataclasses.asdict(summary))


def _list_recipes() -> Summary:
    from ser_model.training.recipe import list_recipes, load_recipe

    recipes = {name: load_recipe(name).description for name in list_recipes()}
    lines = [f"{name:<12} {description}" for name, description in recipes.items()]
    return Summary(text="\n".join(lines), data={"recipes": recipes})


def _show_recipe(args: argparse.Namespace) -> Summary:
    import yaml

    from orchestration.training import resolve_recipe, to_plain
    from ser_model.training.recipe import to_mapping

    recipe = to_plain(to_mapping(resolve_recipe(args.recipe, args.target, args.overrides)))
    text = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None).rstrip()
    return Summary(text=text, data={"recipe": recipe})


def _text(summary: TrainSummary) -> str:
    splits = ", ".join(f"{split} {number}" for split, number in summary.num_segments.items())
    dev = ", ".join(
        f"{metric} {value:.3f}" for metric, value in summary.dev.items() if metric != "selection"
    )
    lines = [
        f"{'was trained already' if summary.resumed else 'trained'}: recipe {summary.recipe}, "
        f"{summary.task}, segments {splits}",
        f"{summary.num_rejected} segments rejected, {summary.num_without_truth} without truth",
        f"best of {summary.num_epochs} epochs: {summary.best_epoch}; on dev {dev}",
        f"model: {summary.output} (sha256 {summary.weights_sha256[:12]})",
    ]
    if summary.model_uri is not None:
        lines.append(f"registered: {summary.model_uri}")
    return "\n".join(lines)

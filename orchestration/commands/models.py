"""``serval models``: what is in the registry, and what is in use."""

from __future__ import annotations

import argparse
import dataclasses

from orchestration.commands.summary import Summary

HELP = "list, show, import and promote the models of the registry, and export them to ONNX"
EXAMPLE = "serval models promote models:/demo/2 --alias champion --gate audit/gate.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="all versions with their aliases")
    show = actions.add_parser("show", help="what a model is")
    show.add_argument(
        "uri",
        metavar="URI",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, hf:ORG/NAME, onnx:FILE, folder",
    )
    bring = actions.add_parser("import", help="register the model of a folder or the hub")
    bring.add_argument(
        "source",
        metavar="SOURCE",
        help="folder that `serval train` wrote or in the Hugging Face layout, or hf:ORG/NAME",
    )
    bring.add_argument("--name", required=True, metavar="N", help="registered model")
    promote = actions.add_parser("promote", help="give a version an alias")
    promote.add_argument("uri", metavar="URI", help="models:/NAME/VERSION or models:/NAME@ALIAS")
    promote.add_argument("--alias", required=True, metavar="ALIAS", help="champion, candidate ...")
    why = promote.add_mutually_exclusive_group()
    why.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="FILE",
        help="decision of `serval gate`, which who replaces a champion needs; one a corpus",
    )
    why.add_argument(
        "--override", metavar="REASON", help="replace the champion without one; kept as a tag"
    )
    export = actions.add_parser("export", help="write a model as an ONNX file")
    export.add_argument("uri", metavar="URI", help="any model with weights of Serval's")
    export.add_argument("--onnx", required=True, metavar="FILE", help="where to write it")
    for action in actions.choices.values():
        # Also behind the action, where people write it; cli.py declares it in front.
        action.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the summary as one JSON object",
        )


def run(args: argparse.Namespace) -> Summary:
    """Do what the action says."""
    return _ACTIONS[args.action](args)


def _list(args: argparse.Namespace) -> Summary:
    del args
    from orchestration.registry import list_models

    versions = list_models()
    lines = [
        f"{version.uri:<28} {version.task:<11} {version.weights_sha256[:12]}  "
        f"{', '.join(version.aliases)}".rstrip()
        for version in versions
    ]
    text = "\n".join(lines) or "no models yet; serval train RECIPE --name N makes one"
    return Summary(
        text=text, data={"models": [dataclasses.asdict(version) for version in versions]}
    )


def _show(args: argparse.Namespace) -> Summary:
    from orchestration.model_actions import describe_model
    from orchestration.training_log import flatten

    facts = describe_model(args.uri)
    flat = flatten(facts)
    width = max(map(len, flat))
    lines = [
        f"{name:<{width}}  {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in flat.items()
    ]
    return Summary(text="\n".join(lines), data=facts)


def _import(args: argparse.Namespace) -> Summary:
    from orchestration.registry import register_model

    version = register_model(args.source, name=args.name)
    uri = f"models:/{args.name}/{version}"
    return Summary(text=f"registered: {uri}", data={"model_uri": uri})


def _promote(args: argparse.Namespace) -> Summary:
    from orchestration.promotion import promote

    uri = promote(args.uri, args.alias, gates=args.gate, override=args.override).uri
    return Summary(text=f"{args.alias}: {uri}", data={"model_uri": uri, "alias": args.alias})


def _export(args: argparse.Namespace) -> Summary:
    from orchestration.model_actions import export_model

    exported = export_model(args.uri, args.onnx)
    return Summary(
        text=f"exported: {exported.uri} (sha256 {exported.weights_sha256[:12]})",
        data={"model_uri": exported.uri, "weights_sha256": exported.weights_sha256},
    )


_ACTIONS = {
    "list": _list,
    "show": _show,
    "import": _import,
    "promote": _promote,
    "export": _export,
}

"""Be the puppet of one mutant (`NAME`), print the table of all (`--table`), or all of them as JSON (`--json`)."""

import importlib
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MODULES = sorted(str(path.relative_to(FOLDER).with_suffix("")).replace("/", ".") for path in FOLDER.rglob("[a-z]*.py"))


def main() -> None:
    sys.path[0] = str(FOLDER.parent)
    for module in MODULES:
        importlib.import_module(f"mutants.{module}")
    mutants = importlib.import_module("mutants._mutant").MUTANTS
    match sys.argv[1:]:
        case ["--table"]:
            print("| mutant | what is wrong with it | caught by |\n|---|---|---|")
            for found in mutants.values():
                print(f"| `{found.name}` | {found.title} | {', '.join(f'`{case}`' for case in found.cases)} |")
        case ["--json"]:
            shown = [{k: v for k, v in vars(each).items() if k != "break_it"} for each in mutants.values()]
            print(json.dumps(shown))
        case [name]:
            mutants[name].break_it()
            importlib.import_module("puppet").main()


main()

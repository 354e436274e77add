import sys

import unbroken

try:
    unbroken.find_checkpoint("nowhere")
except unbroken.UnbrokenError as error:
    print(type(error).__name__, error.exit_code)
    print(error.what, error.why, error.remedy, sep="\n", file=sys.stderr)

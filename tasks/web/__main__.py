"""``python -m tasks.web``: Flower for the fleet, with our pages; what ``pairing flower`` becomes."""

import sys

from celery.__main__ import main

from tasks.web.pages import add_pages

if __name__ == "__main__":
    sys.argv = ["celery", "-A", "tasks", "flower", *sys.argv[1:]]
    add_pages()
    sys.exit(main())

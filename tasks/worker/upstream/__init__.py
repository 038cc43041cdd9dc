"""Everything that hooks into Celery's, kombu's and redis-py's private parts, each with what it works around.

``hooks`` says which parts these are; a worker looks for all of them before it starts.
"""

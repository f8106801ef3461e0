"""Programs that tests of several modules run."""

CHAIN = """
    def chain(step):
        def workflow(n=20):
            v = 0
            for _ in range(n):
                v = step(v)
            return v
        return workflow
"""
"""Each of n steps takes the result of the one before it, the first one 0."""

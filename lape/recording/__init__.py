"""From text to statistics: corpora, blocks of tokens, counting, and recordings that go on after a stop."""

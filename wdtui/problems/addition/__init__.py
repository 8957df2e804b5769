"""The addition problem: the article's network, what it is told, what it measures, and its engine."""

"""The book pipeline: parameters, freshness, execution and the pages of a folder of chapters.

It knows nothing of masked autoencoders: any folder with `_toc.yml`, `book/*.md` and `params/`
will do.
"""

"""The CustomResourceDefinitions of the three kinds, made from the models of `contracts.resources`.

`definitions.definition(kind)` is the way in; `make crds` writes the files of the folder `crds`
with it. Pure: nothing here reads a file or talks to an API server.
"""

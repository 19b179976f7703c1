"""Reading videos and still images: what datasets share. Offers no component.

`readers.open_reader` gives a reader by name (`av`, `decord`, `torchcodec`), all behind `reader.Reader`; `window` says
which frames a sample takes, `fit` what becomes of their size, `still` reads images, `shared` shares tables among
processes.
"""

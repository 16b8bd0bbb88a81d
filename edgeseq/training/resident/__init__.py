"""Training with all sound in the memory of one device, a GPU, where it is also joined to rows and augmented.

The ordinary trainer augments on processors, row by row, and gives the same bits on any machine; a GPU then waits most of the
time. This one keeps every recording as 16-bit samples on the device and augments whole batches as tensors. Batches are drawn by
seed, but sums on a GPU are not exact to the bit, so a run cannot be repeated or resumed to the bit. It reads the same recipes
and writes the same checkpoints.

    store      recordings as samples on the device, at several speeds
    rows       which clips stand where in a batch, planned on processors
    rendering  rooms, microphones, noise, levels and masks, as tensors
    stack      the recurrent layers in few calls
    prepare    manifests to all of these
    loop       optimization, averaging, error rates, checkpoints
"""

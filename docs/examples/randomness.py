import numpy as np

import unbroken

seed, epoch = 1234, 3
print(unbroken.permutation(5, seed, epoch))  # the same on every machine and in every version
print(unbroken.mix64(seed, epoch) % 100)
first = unbroken.mix64(seed, epoch)
each = unbroken.mix64_each(first, np.arange(4, dtype=np.uint64))
print((each >> np.uint64(11)) / 2**53)  # four numbers in [0, 1)

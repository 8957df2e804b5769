"""The lines of the exported script, with «placeholders» for the parts that depend on the config."""

DATA = """

# The pairs: digit counts by one multinomial draw with weights 10^d, operands without replacement, bits from the lowest.


def draw(digits, count, seed):
    if len(digits) == 1:
        return {digits[0]: count}
    drawn = random.Random(seed).choices(digits, weights=[10**d for d in digits], k=count)
    return {d: drawn.count(d) for d in digits}


def draw_pairs(digits, count, seed, rng):
    pairs = []
    for d, number in draw(digits, count, seed).items():
        numbers = range(10 ** (d - 1), 10**d)
        pairs += zip(rng.sample(numbers, number), rng.sample(numbers, number))
    return pairs


def to_bits(numbers):
    return (torch.tensor(numbers).unsqueeze(1) >> torch.arange(BITS) & 1).float()


def encode(pairs):
    a, b = (to_bits(numbers) for numbers in zip(*pairs))
    return torch.stack([a, b], dim=2).flatten(1), to_bits([«operation» for x, y in pairs])

"""

NOISE = '''
def add_noise(targets, seed):
    """Replace each bit, with probability LABEL_NOISE, by a fair coin."""
    generator = torch.Generator().manual_seed(seed)
    replaced = torch.rand(targets.shape, generator=generator) < LABEL_NOISE
    coins = torch.randint(0, 2, targets.shape, generator=generator).to(targets)
    return torch.where(replaced, coins, targets)

'''

NETWORK = '''

def loss_of(logits, targets):
    return «loss»


def accuracy_of(logits, targets):
    """Share of pairs with every bit right."""
    return ((logits > 0) == (targets > 0.5)).all(1).float().mean()


@torch.no_grad()
def evaluated(inputs, targets):
    network.eval()
    logits = network(inputs)
    network.train()
    return loss_of(logits, targets).item(), accuracy_of(logits, targets).item()


rng = random.Random(f"pairs {DATA_SEED}")
known = draw_pairs(TRAIN_DIGITS, TRAIN_SIZE + VALIDATION_SIZE, f"train_digits {DATA_SEED}", rng)
rng.shuffle(known)
unseen = draw_pairs(TEST_DIGITS, TEST_SIZE, f"test_digits {DATA_SEED}", rng)
known_x, known_y = encode(known)
«noise»train_x, train_y = known_x[:TRAIN_SIZE], known_y[:TRAIN_SIZE]
validation, test = (known_x[TRAIN_SIZE:], known_y[TRAIN_SIZE:]), encode(unseen)

torch.manual_seed(SEED)
network = ResidualNetwork(2 * BITS, WIDTH, BLOCKS, BITS, «norm»)
optimizer = «optimizer»
'''

PLAN = '''
# Changes while training: first epoch, field, old value, new value, number of epochs (0: at once).
PLAN = [
«plan»]


def value(field, epoch):
    """The value of a field in an epoch."""
    changes = [change for change in PLAN if change[1] == field]
    begun = [change for change in changes if change[0] <= epoch]
    if not begun:
        return changes[0][2]
    first, _, old, new, epochs = begun[-1]
    done = epoch - first + 1
    if done >= epochs:
        return new
    return old * (new / old) ** (done / epochs) if old > 0 and new > 0 else old + (new - old) * done / epochs


def follow_plan(epoch):
«sets»

'''

DECOUPLED_SGD = """        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1 - optimizer.param_groups[0]["lr"] * WEIGHT_DECAY)
"""

LOOP = """
steps = TRAIN_SIZE // BATCH_SIZE
print("step,epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,test_loss,test_accuracy,weight_norm")
for epoch in range(EPOCHS):
«follow»    «order»
    losses, accuracies = 0.0, 0.0
    for batch in order[: steps * BATCH_SIZE].split(BATCH_SIZE):
        targets = train_y[batch]
        logits = network(train_x[batch])
        loss = loss_of(logits, targets)
        optimizer.zero_grad()
        loss.backward()
«decay»        optimizer.step()
        losses += loss.item() / steps
        accuracies += accuracy_of(logits, targets).item() / steps
    if (epoch + 1) % LOG_EVERY == 0 or epoch + 1 == EPOCHS or not math.isfinite(losses):
        norm = sum(parameter.norm().item() for parameter in network.parameters())
        measured = losses, accuracies, *evaluated(*validation), *evaluated(*test), norm
        print(steps * (epoch + 1), epoch + 1, *measured, sep=",", flush=True)
    if not math.isfinite(losses):
        break
"""

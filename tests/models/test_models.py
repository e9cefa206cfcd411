"""Laws of every known model."""

import copy

import pytest
import torch
from tables import INPUTS, batch, outputs_of
from torch.nn import functional as F

from oneticket.ground.errors import ModelError
from oneticket.models.build import build
from oneticket.models.parts import head, prunable, random_forward
from oneticket.models.spec import EACH_TOKEN, KINDS, MODELS, ModelSpec
from oneticket.task.inputs import Inputs

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 64, 64), (1, 1, 40)]
FLAT_SHAPE = (1, 1, 40)
FOR_IMAGES = [name for name, kinds in KINDS.items() if "images" in kinds]
OTHERS = [(name, kind) for name, kinds in KINDS.items() for kind in kinds if kind != "images"]


def small(name):
    return ModelSpec(name=name, width=0.125)


def fits(name, shape):
    return not (name.startswith("conv-") and shape == FLAT_SHAPE)


def make(name, shape=None, outputs=None, seed=0, spec=None):
    inputs = inputs_of(name) if shape is None else Inputs(shape=shape)
    return build(spec or small(name), inputs=inputs, outputs=outputs or outputs_of(name, inputs), seed=seed)


def inputs_of(name):
    return INPUTS[KINDS[name][0]]


def given(name, count=4):
    return batch(inputs_of(name), count)


def images(shape, count=4):
    return batch(Inputs(shape=shape), count)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_every_known_model_has_a_line():
    assert all(MODELS.values())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FOR_IMAGES)
def test_forward_gives_one_output_per_class(name, shape):
    if not fits(name, shape):
        with pytest.raises(ModelError, match=r"halves the image \d times.*at least \d"):
            make(name, shape)
        return
    assert make(name, shape, outputs=7)(images(shape)).shape == (4, 7)


@pytest.mark.parametrize(("name", "kind"), OTHERS)
def test_forward_gives_outputs_for_an_input_or_for_each_token(name, kind):
    inputs = INPUTS[kind]
    net = build(small(name), inputs=inputs, outputs=outputs_of(name, inputs), seed=0)
    assert net(batch(inputs, 4)).shape == ((4, 12, 64) if name in EACH_TOKEN else (4, 10))


def test_a_token_is_told_by_those_before_it_alone():
    net, tokens = make("byte-gpt").eval(), given("byte-gpt")
    later = torch.cat([tokens[:, :8], tokens[:, 8:].flip(1)], 1)
    torch.testing.assert_close(net(later)[:, :8], net(tokens)[:, :8])
    assert not torch.allclose(net(later)[:, 8:], net(tokens)[:, 8:], atol=1e-3)
    torch.testing.assert_close(net(tokens[:, :5]), net(tokens)[:, :5], msg="a shorter text fits too")


def test_padding_says_nothing():
    net = make("text-cnn", spec=ModelSpec(name="text-cnn")).eval()
    assert not net.embed.weight[0].any()
    word = torch.zeros(1, 12, dtype=torch.long)
    word[0, :5] = torch.arange(1, 6)
    F.cross_entropy(net(word), torch.tensor([3])).backward()
    assert not net.embed.weight.grad[0].any() and net.embed.weight.grad[1:6].any(1).all()
    torch.testing.assert_close(net(torch.cat([word, torch.zeros_like(word)], 1)), net(word))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "message"),
    [
        ("conv-2", INPUTS["vectors"], 10, "conv-2 is for images; the data holds vectors of 16 numbers; models for"),
        ("mlp", INPUTS["tokens"], 10, "mlp is for images, .*; models for tokens: text-cnn, byte-gpt"),
        ("series-cnn", Inputs(kind="series", shape=(1, 2)), 10, "needs series of 3 steps or more, got 2"),
        ("byte-gpt", INPUTS["tokens"], 10, "which of 64 tokens comes next, and the data asks for 10 outputs"),
    ],
)
def test_what_a_model_is_not_made_for_is_refused_in_words(name, inputs, outputs, message):
    with pytest.raises(ModelError, match=message):
        build(ModelSpec(name=name), inputs=inputs, outputs=outputs, seed=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_decides_every_bit(name):
    assert same(make(name).state_dict(), make(name).state_dict())
    one, two = dict(make(name, seed=0).named_parameters()), dict(make(name, seed=1).named_parameters())
    assert all(not torch.equal(one[part], two[part]) for part in one if one[part].dim() > 1)


@pytest.mark.parametrize("name", MODELS)
def test_building_leaves_the_global_generator_and_default_device_alone(name):
    before = torch.get_rng_state()
    net = make(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_device() == torch.device("cpu")
    assert {value.device.type for value in net.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in EACH_TOKEN])
def test_another_number_of_outputs_changes_the_head_only(name):
    ten, seven = make(name, outputs=10), make(name, outputs=7)
    one, two = ten.state_dict(), seven.state_dict()
    differ = tuple(part for part in one if one[part].shape != two[part].shape)
    assert differ == head(ten) == head(seven)
    assert same(*({part: value for part, value in state.items() if part not in differ} for state in (one, two)))


@pytest.mark.parametrize("name", MODELS)
def test_prunable_is_every_matrix_and_kernel_but_the_head(name):
    net = make(name)
    parameters = dict(net.named_parameters())
    rest = {part for part in parameters if part not in prunable(net)}
    tables = {f"{part}.weight" for part, layer in net.named_modules() if isinstance(layer, torch.nn.Embedding)}
    assert all(parameters[part].dim() >= 2 for part in prunable(net))
    assert {part for part in rest if parameters[part].dim() >= 2} == {head(net)[0], *tables}


@pytest.mark.parametrize("name", MODELS)
def test_fresh_values_are_those_of_the_written_rule(name):
    net = make(name, spec=ModelSpec(name=name, width=0.5))
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert same(layer.state_dict(), torch.nn.BatchNorm2d(layer.num_features).state_dict())
        elif isinstance(layer, torch.nn.LayerNorm):
            assert same(layer.state_dict(), torch.nn.LayerNorm(layer.normalized_shape).state_dict())
        elif isinstance(layer, torch.nn.Embedding):
            drawn = layer.weight[0 if layer.padding_idx is None else 1 :].detach()
            assert drawn.std().item() == pytest.approx(0.3, rel=4 / drawn.numel() ** 0.5)
        elif isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear):
            assert layer.bias is None or not layer.bias.any()
            weight = layer.weight.detach()
            fan_out, fan_in = len(weight) * weight[0, 0].numel(), weight[0].numel()
            kaiming = name.startswith("resnet") and isinstance(layer, torch.nn.Conv2d)
            expected = (2 / (fan_out if kaiming else fan_in + fan_out)) ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=4 / weight.numel() ** 0.5)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_reaches_every_parameter(name):
    net = make(name)
    outputs = net(given(name)).flatten(0, -2)
    F.cross_entropy(outputs, torch.arange(len(outputs)) % 10).backward()
    dead = [part for part, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert dead == []


@pytest.mark.parametrize("name", MODELS)
def test_channels_last_changes_nothing_but_rounding(name):
    net, inputs = make(name).eval(), given(name)
    plain = net(inputs)
    net.to(memory_format=torch.channels_last)
    laid = inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs
    torch.testing.assert_close(net(laid), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_forward_draws_nothing(name):
    net = make(name)
    assert not random_forward(net)
    before = torch.get_rng_state()
    net(given(name))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("resnet", "vgg"))])
def test_the_same_weights_take_any_image_size(name):
    net = make(name, (3, 32, 32))
    assert same(net.state_dict(), make(name, (3, 40, 28)).state_dict())
    for size in ((32, 32), (40, 28), (8, 8)):
        assert net(images((3, *size))).shape == (4, 10)


@pytest.mark.parametrize("name", ["resnet-18", "resnet-50", "vgg-11"])
def test_imagenet_size(name):
    assert make(name, (3, 224, 224), outputs=20).eval()(images((3, 224, 224), count=1)).shape == (1, 20)


@pytest.mark.parametrize(
    ("stem", "shape", "kernel"),
    [
        ("auto", (3, 63, 80), 3),
        ("auto", (3, 64, 64), 7),
        ("small", (3, 224, 224), 3),
        ("imagenet", (3, 32, 32), 7),
    ],
)
@pytest.mark.parametrize("name", ["resnet-18", "resnet-50"])
def test_stem(name, stem, shape, kernel):
    net = build(ModelSpec(name=name, stem=stem, width=0.125), inputs=Inputs(shape=shape), outputs=10, seed=0)
    assert net.conv1.weight.shape[-1] == kernel
    assert hasattr(net, "maxpool") == (kernel == 7)


def test_resnet_50_has_its_stride_in_the_3x3_convolution():
    net = make("resnet-50")
    strides = [[conv.stride[0] for conv in (stage[0].conv1, stage[0].conv2, stage[0].conv3)] for stage in net[3:7]]
    assert strides == [[1, 1, 1], [1, 2, 1], [1, 2, 1], [1, 2, 1]]


@pytest.mark.parametrize(("name", "entries"), [("resnet-18", 122), ("resnet-50", 320)])
def test_state_has_the_names_of_torchvision(name, entries):
    state = make(name, (3, 64, 64)).state_dict()
    assert len(state) == entries
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight", "fc.bias"} <= set(
        state
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_is_equal_and_apart(name):
    net = make(name)
    twin = copy.deepcopy(net)
    assert same(twin.state_dict(), net.state_dict())
    assert head(twin) == head(net)
    assert {value.data_ptr() for value in twin.parameters()}.isdisjoint(value.data_ptr() for value in net.parameters())


# Published: torchvision (resnet-18, resnet-50); VGG19 of 2.0e7 with one linear layer; Frankle and Carbin's table of
# networks for LeNet, Conv-2, Conv-4 (its 1.7 M for Conv-6 does not follow from its own layers, which make 2.26 M).
COUNTS = [
    ("lenet-300-100", (1, 28, 28), 10, 266_610),
    ("conv-2", (3, 32, 32), 10, 4_301_642),
    ("conv-4", (3, 32, 32), 10, 2_425_930),
    ("conv-6", (3, 32, 32), 10, 2_262_602),
    ("resnet-20", (3, 32, 32), 10, 272_474),
    ("resnet-18", (3, 224, 224), 1000, 11_689_512),
    ("resnet-50", (3, 224, 224), 1000, 25_557_032),
    ("vgg-19", (3, 32, 32), 10, 20_040_522),
]


@pytest.mark.parametrize(("name", "shape", "classes", "count"), COUNTS)
def test_parameter_counts(name, shape, classes, count):
    net = build(ModelSpec(name=name), inputs=Inputs(shape=shape), outputs=classes, seed=0)
    assert sum(value.numel() for value in net.parameters()) == count


@pytest.mark.parametrize(
    ("name", "count"), [("conv-2", 38_592), ("conv-4", 259_776), ("conv-6", 1_144_512), ("resnet-20", 270_256)]
)
def test_convolution_weights_are_those_of_the_lottery_ticket_paper(name, count):
    net = build(ModelSpec(name=name), inputs=Inputs(shape=(3, 32, 32)), outputs=10, seed=0)
    assert sum(value.numel() for value in net.parameters() if value.dim() == 4) == count


@pytest.mark.parametrize("name", MODELS)
def test_width_scales_every_hidden_layer(name):
    narrow, wide = (make(name, spec=ModelSpec(name=name, width=width)) for width in (0.25, 0.5))
    one, two = dict(narrow.named_parameters()), dict(wide.named_parameters())
    assert one.keys() == two.keys()
    tables = {f"{part}.weight" for part, layer in narrow.named_modules() if isinstance(layer, torch.nn.Embedding)}
    for part in one.keys() - set(head(narrow)):
        along = part in tables  # as many words as before, each of more numbers
        assert 2 * one[part].shape[along] == two[part].shape[along], part


def test_widths_of_an_mlp():
    net = build(ModelSpec(name="mlp", widths=(5, 6, 7)), inputs=Inputs(shape=FLAT_SHAPE), outputs=3, seed=0)
    assert [tuple(value.shape) for value in net.parameters() if value.dim() == 2] == [(5, 40), (6, 5), (7, 6), (3, 7)]


def test_impossible_data_is_refused():
    with pytest.raises(ModelError, match="expected outputs of 1 or more, got 0"):
        build(ModelSpec(name="mlp"), inputs=Inputs(shape=(1, 8, 8)), outputs=0, seed=0)


def test_a_known_model_refuses_inputs_of_a_kind_that_it_is_not_for():
    words = r"conv-2 is for images; the data holds vectors of 16 numbers; models for vectors: lenet-300-100, mlp"
    with pytest.raises(ModelError, match=words):
        build(ModelSpec(name="conv-2"), inputs=Inputs(kind="vectors", shape=(16,)), outputs=2, seed=0)


@pytest.mark.parametrize("model", [{"name": "mlp", "widths": (2**20, 2**20)}, {"name": "resnet-50", "width": 1000}])
def test_a_model_that_memory_cannot_hold_is_not_made(model):
    with pytest.raises(ModelError, match=r"would take [\d,]+ bytes of memory, .* take a smaller model.width"):
        build(ModelSpec(**model), inputs=Inputs(shape=(3, 32, 32)), outputs=10, seed=0)

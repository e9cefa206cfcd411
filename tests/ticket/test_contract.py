import json

import pytest

from oneticket.ground.errors import FileError, SpecError
from oneticket.ticket.contract import HONOURED, Contract

PLAIN = Contract(rewind="2ep", step=10, head=("fc.weight", "fc.bias")).plain()


ONE, TWO = ("fc.weight", "fc.bias"), (("fc.weight", "fc.bias"), ("aux.weight",))


@pytest.mark.parametrize(
    ("head", "held", "heads", "plain", "format"),
    [
        ((), (), (), [], 1),
        (ONE, ONE, (ONE,), [*ONE], 1),
        ((ONE,), ONE, (ONE,), [*ONE], 1),
        (((),), ((),), ((),), [[]], 2),
        (TWO, TWO, TWO, [[*ONE], ["aux.weight"]], 2),
        ((ONE, ()), (ONE, ()), (ONE, ()), [[*ONE], []], 2),
    ],
)
def test_reading_undoes_writing_in_the_lowest_format(head, held, heads, plain, format):
    contract = Contract(rewind="2ep", step=10, head=head)
    assert (contract.head, contract.heads, contract.plain()["head"], contract.format) == (held, heads, plain, format)
    assert contract.head_names == tuple(name for names in heads for name in names)
    assert Contract.read(json.loads(json.dumps(contract.plain()))) == contract


@pytest.mark.parametrize("field", list(PLAIN))
def test_every_field_must_be_written_down(field):
    with pytest.raises(FileError, match=rf"contract.{field}: missing"):
        Contract.read({name: value for name, value in PLAIN.items() if name != field})


@pytest.mark.parametrize("field", list(HONOURED))
@pytest.mark.parametrize("value", ["other", None, ["rewound"], True])
def test_what_cannot_be_honoured_is_refused_by_name(field, value):
    with pytest.raises(FileError, match=rf"contract.{field}: this version can honour '{HONOURED[field][0]}'.*, got"):
        Contract.read({**PLAIN, field: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mood": 1}, "unknown field 'mood'"),
        ({"rewind": "soon"}, "expected a time such as"),
        ({"rewind": 3}, "expected a time such as"),
        ({"rewind": "02ep"}, "expected '2ep', the plain form"),
        ({"step": -1}, "whole number of optimizer steps"),
        ({"step": True}, "whole number of optimizer steps"),
        ({"step": 10.0}, "whole number of optimizer steps"),
        ({"rewind": "500it"}, "'500it' is step 500, got 10"),
        ({"rewind": "0ep"}, "'0ep' is step 0, got 10"),
        ({"head": "fc.weight"}, "expected a list of parameter names"),
        ({"head": [1]}, "expected a tuple of parameter names"),
        ({"head": ["a", "a"]}, "expected each name once"),
        ({"head": [["a"], ["b", "a"]]}, "expected each name once"),
        ({"head": [["a", "b"]]}, "expected a list of names, as for one output layer"),
        ({"head": ["a", ["b"]]}, "expected a tuple of parameter names"),
        ({"head": [["a"], [""]]}, "expected a tuple of parameter names"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(FileError) as caught:
        Contract.read({**PLAIN, **change})
    assert words in str(caught.value)


def test_a_contract_made_in_code_is_checked_too():
    with pytest.raises(SpecError, match=r"contract.optimizer: this version can honour 'fresh', got 'rewound'"):
        Contract(rewind="1ep", step=3, optimizer="rewound")

"""References to database objects: compared as they are, shown as people say it."""

from __future__ import annotations

import pickle

import pytest

from streams_engine.model import ObjectKind, ObjectRef, TableId

T = TableId("shop", "orders")


@pytest.mark.parametrize(
    ("ref", "label"),
    [
        (ObjectRef(ObjectKind.SCHEMA, "shop"), "schema shop"),
        (ObjectRef(ObjectKind.TYPE, "shop.mood"), "type shop.mood"),
        (ObjectRef(ObjectKind.TABLE, table=T), "table shop.orders"),
        (ObjectRef(ObjectKind.PARTITION, table=T), "partition shop.orders"),
        (ObjectRef(ObjectKind.TABLES, "shop.a, shop.b"), "tables shop.a, shop.b"),
        (ObjectRef(ObjectKind.COLUMN, "id", T), "column shop.orders.id"),
        (ObjectRef(ObjectKind.IDENTITY, "id", T), "identity of shop.orders.id"),
        (ObjectRef(ObjectKind.SEQUENCE, "shop.s"), "sequence shop.s"),
        (ObjectRef(ObjectKind.SEQUENCE, "id", T), "sequence of shop.orders.id"),
        (ObjectRef(ObjectKind.AUTO_INCREMENT, table=T), "AUTO_INCREMENT of shop.orders"),
        (ObjectRef(ObjectKind.INDEX, "i", T), "index i of shop.orders"),
        (ObjectRef(ObjectKind.CONSTRAINT, "k", T), "constraint k of shop.orders"),
        (ObjectRef(ObjectKind.FOREIGN_KEY, "k", T), "foreign key k of shop.orders"),
        (ObjectRef(ObjectKind.COMMENT, "shop.orders"), "comment on shop.orders"),
        (ObjectRef(ObjectKind.COMMENT, "k", T), "comment on k of shop.orders"),
    ],
    ids=str,
)
def test_a_reference_is_shown_as_people_say_it(ref: ObjectRef, label: str) -> None:
    assert str(ref) == label
    assert pickle.loads(pickle.dumps(ref)) == ref


def test_names_that_look_like_labels_are_told_apart() -> None:
    """``i of s`` of table ``t.a`` and ``i`` of ``s of t.a`` have one label and are two objects."""
    one = ObjectRef(ObjectKind.INDEX, "i of s", TableId("t", "a"))
    other = ObjectRef(ObjectKind.INDEX, "i", TableId("s of t", "a"))
    assert str(one) == "index i of s of t.a" == str(other)
    assert one != other


def test_braces_in_a_name_are_not_filled_in() -> None:
    assert str(ObjectRef(ObjectKind.INDEX, "{kind}", T)) == "index {kind} of shop.orders"

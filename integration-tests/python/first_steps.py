"""First steps of a client in Python: register a school, join, subscribe, send a message, receive it live.

    python -m grpc_tools.protoc -I proto --python_out=OUT --grpc_python_out=OUT $(find proto -name '*.proto')
    PYTHONPATH=OUT python integration-tests/python/first_steps.py 127.0.0.1:7710 data/keys/operator.key

Needs only grpcio, googleapis-common-protos for the details of refusals, and the stubs generated from
`proto/`. The suite must run with its development outbox.
"""

import re
import sys
import time
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2
from parta.chat.v1 import chat_service_pb2, chat_service_pb2_grpc
from parta.chat.v1 import live_service_pb2, live_service_pb2_grpc
from parta.chat.v1 import message_service_pb2, message_service_pb2_grpc
from parta.invitation.v1 import invitation_service_pb2, invitation_service_pb2_grpc
from parta.membership.v1 import appointment_service_pb2, appointment_service_pb2_grpc
from parta.membership.v1 import authentication_service_pb2, authentication_service_pb2_grpc
from parta.membership.v1 import member_pb2
from parta.membership.v1 import operator_service_pb2, operator_service_pb2_grpc
from parta.org_registry.v1 import application_pb2, organization_pb2
from parta.org_registry.v1 import application_service_pb2, application_service_pb2_grpc

# The channel retries calls that fail with UNAVAILABLE. This is safe, because every mutation has a request_id.
RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s",
    "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


def act() -> str:
    """Returns a new request_id."""
    return str(uuid.uuid4())


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def reason(refused: grpc.RpcError) -> tuple[str, str]:
    """Returns the domain and the reason of a refusal: a heading and a row of docs/errors.md."""
    status = status_pb2.Status.FromString(dict(refused.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.domain, info.reason
    raise AssertionError("each refusal has a reason")


def ogrn(number: int) -> str:
    """Returns a registration number with a valid check digit."""
    first = 102_780_000_000 + number
    return f"{first}{first % 11 % 10}"


class Suite:
    def __init__(self, address: str, operator_key: str):
        channel = grpc.insecure_channel(address, options=[("grpc.service_config", RETRY)])
        self.applications = application_service_pb2_grpc.ApplicationServiceStub(channel)
        self.sign_in = authentication_service_pb2_grpc.AuthenticationServiceStub(channel)
        self.appointments = appointment_service_pb2_grpc.AppointmentServiceStub(channel)
        self.outbox = operator_service_pb2_grpc.OperatorServiceStub(channel)
        self.invitations = invitation_service_pb2_grpc.InvitationServiceStub(channel)
        self.chats = chat_service_pb2_grpc.ChatServiceStub(channel)
        self.messages = message_service_pb2_grpc.MessageServiceStub(channel)
        self.live = live_service_pb2_grpc.LiveServiceStub(channel)
        self.operator = bearer(operator_key)

    def apply(self, number: int, phone: str) -> str:
        """Submits an application with its order, approves it, and returns the id of the organization."""
        form = application_pb2.ApplicationForm(
            organization_name=f"Школа № {number}",
            kind=organization_pb2.ORGANIZATION_KIND_GENERAL,
            region="Москва",
            ogrn=ogrn(number),
            kpp="770101001",
            time_zone="Europe/Moscow",
            head_full_name="Анна Петрова",
            administrator_full_name="Иван Орлов",
            administrator_email="orlov@school.example",
            administrator_phone=phone,
        )
        header = application_service_pb2.SubmitApplicationHeader(form=form, file_name="order.pdf")
        request = application_service_pb2.SubmitApplicationRequest
        parts = [request(request_id=act(), header=header), request(chunk=b"%PDF-1.4\n%%EOF\n")]
        application = self.applications.SubmitApplication(iter(parts))
        approve = application_service_pb2.ApproveApplicationRequest(
            request_id=act(), application_id=application.application_id
        )
        approved = self.applications.ApproveApplication(approve, metadata=self.operator)
        return approved.organization.id

    def account(self, phone: str, full_name: str) -> list[tuple[str, str]]:
        """Signs in with a one-time code, as a new account."""
        api = authentication_service_pb2
        flow = self.sign_in.RequestCode(api.RequestCodeRequest(request_id=act(), phone=phone)).flow_id
        ask = operator_service_pb2.ListOutboxMessagesRequest(recipient=phone)
        text = self.outbox.ListOutboxMessages(ask, metadata=self.operator).messages[0].text
        code = re.findall(r"\d{6}", text)[-1]
        verified = self.sign_in.VerifyCode(api.VerifyCodeRequest(flow_id=flow, code=code))
        start = api.StartSessionRequest(
            request_id=act(),
            flow_id=flow,
            proof=verified.proof,
            new_account=api.NewAccount(full_name=full_name),
        )
        return bearer(self.sign_in.StartSession(start).access_token)

    def member(self, account: list[tuple[str, str]], org_id: str) -> tuple[list[tuple[str, str]], str]:
        """Returns the metadata with a token of the organization, and the member id."""
        ask = authentication_service_pb2.IssueOrganizationTokenRequest(org_id=org_id)
        issued = self.sign_in.IssueOrganizationToken(ask, metadata=account)
        return bearer(issued.access_token), issued.member_id


def main(address: str, operator_key_file: str) -> None:
    with open(operator_key_file, encoding="utf-8") as file:
        suite = Suite(address, file.read().strip())
    number = uuid.uuid4().int % 10_000_000
    phones = [f"+7917{number:07}", f"+7918{number:07}"]

    org_id = suite.apply(number, phones[0])
    account = suite.account(phones[0], "Иван Орлов")
    # The appointment arrives from another service shortly after the approval.
    list_appointments = appointment_service_pb2.ListAppointmentsRequest()
    while not suite.appointments.ListAppointments(list_appointments, metadata=account).appointments:
        time.sleep(0.05)
    claim = appointment_service_pb2.ClaimAppointmentRequest(request_id=act(), org_id=org_id)
    claimed = suite.appointments.ClaimAppointment(claim, metadata=account)
    administrator, _ = suite.member(account, org_id)
    # Later calls wait until the called service knows the claim.
    administrator.append(("parta-at-least", claimed.consistency_token))

    # A teacher joins by a link that was made for her phone.
    invite = invitation_service_pb2.CreateInvitationRequest(
        request_id=act(),
        org_id=org_id,
        role=member_pb2.ROLE_TEACHER,
        recipient_label="Мария Кузнецова",
        recipient_address=phones[1],
    )
    link = suite.invitations.CreateInvitation(invite, metadata=administrator).link.link_token
    account = suite.account(phones[1], "Мария Кузнецова")
    ask = authentication_service_pb2.CreateJoinTicketRequest(request_id=act(), invitation_token=link)
    ticket = suite.sign_in.CreateJoinTicket(ask, metadata=account).ticket
    accept = invitation_service_pb2.AcceptInvitationRequest(request_id=act(), link_token=link)
    joined = suite.invitations.AcceptInvitation(accept, metadata=bearer(ticket))
    teacher, _ = suite.member(account, org_id)

    # Both are in «Учительская», so each receives the messages of the other.
    at_least = [("parta-at-least", joined.consistency_token)] if joined.consistency_token else []
    chats = suite.chats.ListChats(chat_service_pb2.ListChatsRequest(org_id=org_id), metadata=administrator + at_least)
    staff = next(chat for chat in chats.chats if chat.title == "Учительская")
    subscribe = live_service_pb2.SubscribeChatsRequest(org_id=org_id)
    stream = suite.live.SubscribeChats(subscribe, metadata=teacher + at_least, timeout=20)
    next(item for item in stream if item.WhichOneof("item") == "started")
    send = message_service_pb2.SendMessageRequest(
        request_id=act(), org_id=org_id, chat_id=staff.id, text="Здравствуйте, коллеги!"
    )
    sent = suite.messages.SendMessage(send, metadata=administrator)
    again = suite.messages.SendMessage(send, metadata=administrator)
    assert (again.entry_id, again.seq) == (sent.entry_id, sent.seq), "a repeated act has one effect"
    received = next(item.entry for item in stream if item.entry.WhichOneof("content") == "message")
    assert received.id == sent.entry_id and received.message.text == send.text
    stream.cancel()

    # An outsider is refused with a documented reason.
    try:
        suite.messages.SendMessage(send, metadata=suite.account(f"+7919{number:07}", "Чужой"))
    except grpc.RpcError as refused:
        assert reason(refused) == ("parta", "CALLER_NOT_ACCEPTED"), refused
        assert len(dict(refused.trailing_metadata())["parta-trace-id"]) == 32, refused
    else:
        raise AssertionError("an outsider wrote")
    print(f"ok: {received.message.text} (seq {received.seq})")


if __name__ == "__main__":
    main(*sys.argv[1:])
